"""Provenance of a result: code, versions, machine, command."""

import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from stdo import __version__
from stdo.core.types import Json

DIFF_LIMIT = 1_000_000
"""Characters of uncommitted changes that are kept."""

PACKAGES = ("torch", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "av")


def _cores() -> int | None:
    """Those that this process may use; those of the machine where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def provenance(command: Sequence[str]) -> Json:
    """Everything a reader needs to judge or repeat a run; for the run directory, not for
    publication.

    Args:
        command: Its words, as in ``sys.argv``.
    """
    return {
        "command": [Path(command[0]).name, *command[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "stdo": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": _cores(),
        },
        "commit": _git("rev-parse", "HEAD"),
        "diff": _shortened(_git("diff", "HEAD")),
    }


def _shortened(diff: str | None) -> str | None:
    """Uncommitted changes, of which a file of data that was changed would make gigabytes."""
    if diff is None or len(diff) <= DIFF_LIMIT:
        return diff
    return f"{diff[:DIFF_LIMIT]}\n… cut here: {len(diff) - DIFF_LIMIT} more characters"


def as_typed(words: Sequence[str]) -> str:
    """A command as one types it, from its words as `provenance` keeps them.

    >>> as_typed(["train.py", "video.path=holiday film.mp4"])
    "python -m stdo.train 'video.path=holiday film.mp4'"
    """
    if not words:
        return ""
    command = re.fullmatch(
        r"(?:stdo-)?(train|evaluate|deliver|catalogue|export|play|report|dashboard)(?:\.py)?",
        Path(words[0]).name,
    )
    start = f"python -m stdo.{command[1]}" if command else shlex.quote(words[0])
    return " ".join([start, *map(shlex.quote, words[1:])])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    facts = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts[key.strip()] = value.strip()
    name = facts.get("model name", platform.processor())
    if not {"cpu family", "model"} <= facts.keys():
        return name
    # the name of a virtual one may hide them
    return f"{name} (family {facts['cpu family']}, model {facts['model']})"


def _git(*arguments: str) -> str | None:
    """What git says of the source tree this package runs from; None outside of one."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=root,
            capture_output=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
