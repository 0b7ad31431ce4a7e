"""Fuzz all targets in turn, each for its share of the time (``make fuzz MINUTES=10``).

What is found is kept in fuzz/corpus, so that the next run goes on from there, and what fails in
fuzz/crashes.
"""

import argparse
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
KEPT = Path("fuzz")
LEAST = 5
"""Seconds of a target: below that it only loads."""


@dataclass
class Progress:
    """What libFuzzer has told of a target."""

    executions: int = 0
    branches: int = 0
    inputs: int = 0
    memory: int = 0

    def read(self, line: str) -> None:
        """Take the figures of one line of its output, if it has any."""
        found = re.match(r"#(\d+)\s.*? cov: (\d+) .*?corp: (\d+)/.*? rss: (\d+)Mb", line)
        if found:
            self.executions, self.branches, self.inputs, self.memory = map(int, found.groups())


def show(text: str) -> None:
    """One line that the next one replaces; nothing where nobody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(max(0, seconds)) // 60}:{int(max(0, seconds)) % 60:02}"


def fuzz(name: str, seconds: int, place: str, end: float) -> tuple[Progress, str | None]:
    """Fuzz a target; the figures, and the file of the input that failed, where one did."""
    corpus, crashes = KEPT / "corpus" / name, KEPT / "crashes"
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir())
    command = [
        sys.executable, str(HERE / "one.py"), name, f"-max_total_time={seconds}",
        f"-artifact_prefix={crashes}/{name}-", str(corpus), str(HERE / "corpus" / name),
    ]  # fmt: skip
    progress, tail = Progress(), []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as one:
        assert one.stdout is not None
        for line in one.stdout:
            progress.read(line)
            tail = [*tail[-60:], line]
            show(f"{place} {name}: {progress.executions} executions, {progress.branches} branches, "
                 f"all done in {clock(end - time.monotonic())}")  # fmt: skip
    if one.returncode == 0:
        return progress, None
    (KEPT / f"{name}.log").write_text("".join(tail), encoding="utf-8")
    new = sorted(map(str, set(crashes.iterdir()) - before)) or [f"{KEPT / name}.log"]
    return progress, new[0]


def main() -> int:
    """Print a line for each target; 1 where any failed."""
    from targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default"
    )
    asked = parser.parse_args()
    names = asked.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"{unknown[0]}: must be one of {', '.join(TARGETS)}")
    share = max(LEAST, int(60 * asked.minutes / len(names)))
    end, failed = time.monotonic() + share * len(names), 0
    print(
        f"{len(names)} targets, {share} s each, all done in {clock(share * len(names))}", flush=True
    )
    for number, name in enumerate(names, 1):
        progress, crash = fuzz(name, share, f"{number}/{len(names)}", end)
        show("")
        failed += crash is not None
        told = (
            f"{name:<11}{progress.executions:>9} executions {progress.branches:>6} branches "
            f"{progress.inputs:>5} inputs"
        )
        print(
            f"{told} {progress.memory:>5} MiB" + (f"  FAILED: {crash}" if crash else ""), flush=True
        )
        if crash:
            print(f"  repeat it: {sys.executable} {HERE / 'one.py'} {name} {crash}", flush=True)
    print(
        f"{failed} of {len(names)} targets failed"
        if failed
        else "nothing but one-line refusals came out"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path[:0] = [str(HERE)]
    sys.exit(main())
