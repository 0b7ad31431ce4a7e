"""A player in a process of its own, which a hostile package may kill: one package per line in, what
came of it out.

Memory is limited by the kernel, so that a bomb ends this process and not the machine.
"""

import hashlib
import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO

from stdo.cli.play import main
from stdo.core.types import UserError
from stdo.player.client import Player

ADDRESS_SPACE = 3 << 30
"""Bytes of address space beyond what the idle player has."""


def status(key: str) -> int:
    """A figure of this process in bytes, as the kernel tells it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) << 10


def played(arguments: list[str]) -> tuple[int | str, str]:
    """Exit code of the player, or the exception that it should have caught; and all that anyone
    wrote to stderr."""
    with tempfile.TemporaryFile() as errors:
        before = os.dup(2)
        os.dup2(errors.fileno(), 2)
        code: int | str = 0
        try:
            # What goes wrong is seen here, and not told in one line
            main(arguments, isolated=False)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException as error:
            code = f"{type(error).__name__}: {error}"[:500]
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
        errors.seek(0)
        return code, errors.read(10_000).decode(errors="replace")


def digest(package: str) -> str:
    """Of all frames and their times; a stretch may have played of a package that is damaged
    elsewhere."""
    frames = hashlib.sha256()
    try:
        for pts, rgb_HWC in Player(package, threads=1):
            frames.update(f"{pts} {rgb_HWC.shape}".encode() + rgb_HWC.tobytes())
    except UserError as error:
        return f"refused as a whole: {error}"
    return frames.hexdigest()


def outcome(task: dict[str, Any]) -> dict[str, Any]:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak counts from here
    code, said = played([task["package"], *task["arguments"], "--threads", "1"])
    frames = digest(task["package"]) if code == 0 and task["digest"] else None
    return {
        "code": code,
        "said": said,
        "frames": frames,
        "peak": status("VmHWM"),
        "held": status("VmRSS"),
    }


def serve(answers: TextIO) -> None:
    for line in sys.stdin:
        answers.write(json.dumps(outcome(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + ADDRESS_SPACE,) * 2)
    serve(answers)
