"""Tab completion of ``python -m stdo.train`` as bash does it; the words of ``python -m stdo``."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stdo.cli.commands import COMMANDS

BASH = shutil.which("bash")
COMPLETE = """
eval "$(python -m stdo completion)"
COMP_LINE=$1 COMP_POINT=${#1}
"$(complete -p python | sed 's/.* -F \\([^ ]*\\) .*/\\1/')"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(line: str, before: str = "") -> list[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [str(BASH), "--norc", "-c", before + COMPLETE, "bash", line],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="no bash")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("python -m stdo.", [f"stdo.{name}" for name in COMMANDS]),
        ("python -m stdo.train scale=4 method=st", ["method=stdo"]),
        ("python -m stdo.train budget.pas", ["budget.passes="]),
        ("python -m http.se", []),
    ],
)
def test_bash_completes_commands_settings_and_choices(line: str, words: list[str]) -> None:
    assert completed(line) == words


@pytest.mark.skipif(BASH is None, reason="no bash")
def test_another_completion_of_python_keeps_what_is_not_ours() -> None:
    before = "theirs() { COMPREPLY=(theirs); }; complete -F theirs python;"
    assert completed("python -m http.se", before) == ["theirs"]


@pytest.mark.parametrize(
    ("words", "code", "start"),
    [
        ([], 0, "stdo: video delivery"),
        (["--help"], 0, "stdo: video delivery"),
        (["--version"], 0, "stdo "),
        (["train", "scale=2"], 2, "stdo: 'train': must be completion, --help or --version; did"),
        (["fly"], 2, "stdo: 'fly': must be completion, --help or --version; --help lists"),
    ],
)
def test_the_package_itself_lists_its_commands(words: list[str], code: int, start: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stdo", *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, (done.stdout + done.stderr).startswith(start)) == (code, True)
