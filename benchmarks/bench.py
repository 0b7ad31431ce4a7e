"""Every benchmark, or the parts that are named; each part's tables go into a file of
benchmarks/results.

    python benchmarks/bench.py [limits prepare train quality play growth gpu] [--quick]
                               [--out benchmarks/results]

``--quick`` is a quarter of an hour, everything some hours. A file says on which processor, with
which versions and how it was asked for; it names no host and no path. What a part measures stands
in the head of its script. Further arguments go to the part when only one is named.
"""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from common import note

HERE = Path(__file__).parent
PARTS = {
    "limits": "limits.py",
    "prepare": "prepare.py",
    "train": "training.py",
    "quality": "quality.py",
    "play": "play.py",
    "growth": "growth.py",
    "gpu": "gpu.py",
}
QUICK = {"play": ["--rounds", "2", "--frames", "24"]}
"""For the part that has no ``--quick`` of its own."""


def run(part: str, arguments: list[str]) -> str:
    """The tables of one part, shown on the terminal as they come."""
    note(f"== {part}")
    command = [sys.executable, str(HERE / PARTS[part]), *arguments]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    if running.returncode:
        lines.append(f"# failed with exit code {running.returncode}\n")
    return "".join(lines)


def main() -> None:
    """Run, and write each part's file when it is done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    chosen, further = parser.parse_known_args()
    parts = chosen.parts or list(PARTS)
    if further and len(parts) != 1:
        parser.error(f"{' '.join(further)}: name the one part that this is for")
    chosen.out.mkdir(parents=True, exist_ok=True)
    for part in parts:
        arguments = [*(QUICK.get(part, ["--quick"]) if chosen.quick else []), *further]
        tables = run(part, arguments)
        shown = " ".join(word for word in arguments if "/" not in word)
        (chosen.out / f"{part}.tsv").write_text(
            f"# {part} {shown}; {datetime.now(UTC):%Y-%m-%d}\n{tables}"
        )
    note(f"written to {chosen.out}")


if __name__ == "__main__":
    main()
