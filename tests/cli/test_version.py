"""``--version`` of every command says stdo's."""

import subprocess
import sys

import pytest

from stdo import __version__


@pytest.mark.parametrize("module", ["train", "evaluate", "deliver", "export", "play", "report"])
def test_every_command_says_its_version(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"stdo.{module}", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"stdo {__version__}\n", "")
