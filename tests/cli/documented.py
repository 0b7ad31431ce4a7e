"""The commands that README, docs and studies tell a reader to type."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "locks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "experiments").rglob("*.md")),
]
_FENCE = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:python -m stdo|python \w+/|stdo-\w+ |make |pip install )[^`]*)`")


def blocks(text: str) -> list[list[str]]:
    """The words of each command in a page's shell blocks, without comments and without the programs
    that read its output."""
    lines = "".join(_FENCE.findall(text)).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    return [words[: [*words, "|"].index("|")] for words in commands if words]


def commands(path: Path) -> list[list[str]]:
    """Those of the blocks, then those in the sentences."""
    text = path.read_text(encoding="utf-8")
    return blocks(text) + [shlex.split(each, comments=True) for each in _INLINE.findall(text)]
