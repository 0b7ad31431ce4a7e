"""Write locks/ from pyproject.toml and constraints.txt (``make lock``).

uv resolves for all Pythons and systems at once and lists the hashes of all files. Versions that are
locked already are kept where they still fit; ``--upgrade`` takes the newest of everything that
constraints.txt leaves open.
"""

import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "locks"
CUDA = ("nvidia-", "cuda-", "triton")
"""How the names of the packages begin that the CUDA build of PyTorch needs, and nothing
else does."""

BUILD = ("pip", "setuptools", "hatchling", "editables")
TOOLS = ("uv", "cyclonedx-bom", "pip-audit")
FUZZ = ("atheris",)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DOCS = tuple(PROJECT["optional-dependencies"]["docs"])
"""Alone, without what stdo needs to run: the site is made from the source's text."""

HEAD = "# Made by `make lock` from pyproject.toml and constraints.txt; see README.md.\n"

Entries = dict[str, str]
"""Name, version and marker of a package, as the lock's line has them -> the whole entry with its
hashes."""


def entries(text: str) -> Entries:
    """The packages of a requirements file with hashes."""
    found = re.findall(r"^(\S+==[^\\\n]+?) *\\\n((?: +--hash=\S+(?: *\\)?\n)+)", text, re.MULTILINE)
    whole = {line: f"{line} \\\n{hashes.rstrip()}\n" for line, hashes in found}
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert "\n".join(lines) == "".join(whole.values()).rstrip(), (
        "a line of the lock was not understood"
    )
    return whole


def cpu_hashes(version: str) -> list[str]:
    """The hashes in locks/cpu.txt, which must be of this version of PyTorch."""
    text = (LOCKS / "cpu.txt").read_text(encoding="utf-8")
    if f"\n{version}+cpu " not in text:
        sys.exit(
            f"locks/cpu.txt: must name {version}+cpu: "
            "take the hashes of its files from the PyTorch project's index"
        )
    return re.findall(r"--hash=(\S+)", text)


def with_cpu(dev: Entries) -> Entries:
    """The same, but PyTorch has the hashes of locks/cpu.txt as well, which uv cannot see."""
    (torch,) = (line for line in dev if line.startswith("torch=="))
    extra = [f" \\\n    --hash={each}" for each in cpu_hashes(torch) if each not in dev[torch]]
    return dev | {torch: dev[torch].rstrip() + "".join(extra) + "\n"}


def compiled(arguments: list[str], wanted: tuple[str, ...] = (), known: str = "") -> Entries:
    """What uv resolves from extras of pyproject.toml, or from names."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "wanted.txt", Path(folder) / "lock.txt"
        source.write_text("\n".join(wanted), encoding="utf-8")
        result.write_text(known, encoding="utf-8")  # uv keeps the versions that it finds there
        command = [
            str(Path(sysconfig.get_path("scripts")) / "uv"), "pip", "compile", "--quiet",
            "--no-config", "--universal", "--python-version", "3.11", "--generate-hashes",
            "--no-header", "--no-annotate", "--constraint", str(ROOT / "constraints.txt"),
            "--output-file", str(result), *arguments,
            str(source if wanted else ROOT / "pyproject.toml"),
        ]  # fmt: skip
        subprocess.run(command, check=True)
        return entries(result.read_text(encoding="utf-8"))


def written(name: str, found: Entries) -> None:
    """Write one lock and say how many packages it has."""
    path = LOCKS / f"{name}.txt"
    path.write_text(HEAD + "".join(found.values()), encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {len(found)} packages")


def main(options: list[str]) -> None:
    """Write all locks. options: of ``uv pip compile``, such as ``--upgrade``."""
    before = {path.stem: path.read_text(encoding="utf-8") for path in LOCKS.glob("*.txt")}
    known = before.get("dev", "") + before.get("cuda", "")
    dev = with_cpu(compiled([*options, "--extra", "dev", "--extra", "demo"], known=known))
    written("dev", {line: entry for line, entry in dev.items() if not line.startswith(CUDA)})
    written("cuda", {line: entry for line, entry in dev.items() if line.startswith(CUDA)})
    shared = [
        "--constraint",
        str(LOCKS / "dev.txt"),
        *options,
    ]  # installed beside those, so at the same versions
    written("build", compiled(shared, BUILD, before.get("build", "")))
    written("fuzz", compiled(shared, FUZZ, before.get("fuzz", "")))
    written("tools", compiled(options, TOOLS, before.get("tools", "")))
    written("docs", compiled(options, DOCS, before.get("docs", "")))


if __name__ == "__main__":
    main(sys.argv[1:])
