"""``--version`` of every command says stdo's; ``python -m stdo`` lists the commands."""

import subprocess
import sys
from pathlib import Path

import pytest

import stdo
from stdo import __version__
from stdo.cli.commands import COMMANDS


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_says_its_version(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"stdo.{module}", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"stdo {__version__}\n", "")


def test_the_package_alone_lists_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stdo"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    here = Path(stdo.__file__).parent
    commands = {path.stem for path in here.glob("[a-z]*.py")} - {"api"}
    assert commands == set(COMMANDS)
    for command in commands:
        assert f"python -m stdo.{command} " in done.stdout
