"""Run the studies again: ``python tools/studies.py CLIPS [study …] [setting=value …]``.

Goes through experiments/all.txt: each line is a multirun for each of its clips, then a report.
Stopped at any point, the same command goes on: finished runs are skipped.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "experiments" / "all.txt"
_VIDEOS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m")


@dataclass(frozen=True)
class Sweep:
    """A line of the list.

    Attributes:
        study: Its name.
        clips: Beginnings of the names of its videos; those with a ``+`` between are joined.
        words: Settings beside those of the study.
        named: Whether it takes so long that it runs only when it is named.
    """

    study: str
    clips: tuple[str, ...]
    words: tuple[str, ...]
    named: bool = False


def sweeps(text: str) -> list[Sweep]:
    """The lines of a list that are no remarks.

    >>> sweeps("# what\\ntable2*  game,city  scale=4")
    [Sweep(study='table2', clips=('game', 'city'), words=('scale=4',), named=True)]
    """
    found = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    return [
        Sweep(study.rstrip("*"), tuple(clips.split(",")), tuple(words), study.endswith("*"))
        for study, clips, *words in found
    ]


def clip(folder: Path, name: str) -> Path:
    """The one video of a folder whose name begins so. Exits where there is none, or several."""
    found = [
        path
        for path in sorted(folder.glob(f"{name}*"))
        if path.suffix.lower() in _VIDEOS and not path.stem[len(name) : len(name) + 1].isalnum()
    ]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        sys.exit(f"{folder}: must hold one video whose name begins with {name}, has {names}")
    return found[0]


def source(folder: Path, names: str) -> list[str]:
    """The settings that open a clip, or those that join several: ``game+vlog``."""
    clips = [clip(folder, name).as_posix() for name in names.split("+")]
    if len(clips) == 1:
        return [f"video.path={clips[0]}"]
    return ["video=joined", f"video.paths=[{','.join(map(repr, clips))}]"]


def main(typed: Sequence[str]) -> int:
    """Run what is asked for, and report it. Returns the exit code: 1 where a command failed."""
    folder = Path(typed[0]) if typed and typed[0] else None
    if folder is None or not folder.is_dir():
        what = f"{folder}: no such folder" if folder else "no folder is named"
        sys.exit(f"{what}; make studies CLIPS=folder")
    wanted = [word for word in typed[1:] if "=" not in word]
    settings = [word for word in typed[1:] if "=" in word]
    listed = sweeps(LIST.read_text(encoding="utf-8"))
    if unknown := set(wanted) - {each.study for each in listed}:
        sys.exit(f"{', '.join(sorted(unknown))}: not in {LIST.relative_to(ROOT)}")
    chosen = [each for each in listed if each.study in wanted or not (wanted or each.named)]
    jobs = [(each, name, source(folder, name)) for each in chosen for name in each.clips]

    failed = []
    began = time.monotonic()
    for count, (each, name, video) in enumerate(jobs, 1):
        left = (time.monotonic() - began) / max(1, count - 1) * (len(jobs) - count + 1)
        about = f", about {left / 3600:.1f} h left" if count > 1 else ""
        sys.stderr.write(f"\n== {count} of {len(jobs)}: {each.study}, {name}{about}\n")
        if run("train", [f"study={each.study}", *video, *each.words, *settings]):
            failed.append(f"{each.study}, {name}")
    runs = [word for word in settings if word.startswith("paths.outputs=")]
    failed += [
        f"report of {study}"
        for study in dict.fromkeys(each.study for each in chosen)
        if run("report", [f"study={study}", *runs])
    ]
    sys.stderr.write("".join(f"failed: {line}\n" for line in failed))
    return 1 if failed else 0


def run(command: str, words: Sequence[str]) -> int:
    """Run a command of stdo. Returns its exit code."""
    return subprocess.run(
        [sys.executable, "-m", f"stdo.{command}", *words], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
