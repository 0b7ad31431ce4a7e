"""The Dockerfiles are read as a builder reads them; none is built, which needs a daemon and a
network."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))

Instructions = list[tuple[str, str]]


def instructions(path: Path) -> Instructions:
    """Each instruction with its arguments."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]


def copied(path: Path) -> list[str]:
    """What goes from the checkout into the image."""
    return [
        source
        for name, rest in instructions(path)
        if name == "COPY"
        for source in shlex.split(rest)[:-1]
    ]


def installed(path: Path) -> list[str]:
    """The words of its ``pip install``."""
    (words,) = [
        shlex.split(rest)
        for name, rest in instructions(path)
        if name == "RUN" and rest.startswith("pip ")
    ]
    return words


def test_there_are_two() -> None:
    assert [path.name for path in FILES] == ["lab.Dockerfile", "player.Dockerfile"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_image_is_made_of_what_there_is(path: Path) -> None:
    found = instructions(path)
    assert found[0][0] == "FROM"
    python = re.fullmatch(r"python:(3\.\d+)-slim", found[0][1])
    assert python and python[1] in SpecifierSet(PROJECT["requires-python"])
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for source in copied(path):
        assert (ROOT / source).exists() and f"!{source}" in sent, source
    words = installed(path)
    assert words[words.index("-c") + 1] in copied(path)
    commands = [json.loads(rest) for name, rest in found if name in ("ENTRYPOINT", "CMD")]
    assert commands[0][0] in PROJECT["scripts"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nobody_is_root_in_it(path: Path) -> None:
    names = [name for name, _ in instructions(path)]
    (user,) = [rest for name, rest in instructions(path) if name == "USER"]
    assert user == "stdo" and "RUN" not in names[names.index("USER") :]
    assert any(
        name == "RUN" and f"useradd --create-home {user}" in rest
        for name, rest in instructions(path)
    )


def test_the_player_is_the_base_install_and_the_lab_has_extras_that_exist() -> None:
    lab, player = (Requirement(installed(path)[-1].replace(".", "stdo", 1)) for path in FILES)
    assert player.extras == set()
    assert "train" in lab.extras <= set(PROJECT["optional-dependencies"])


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_copied_is_enough_to_build_stdo(path: Path, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    for source in copied(path):
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, tmp_path / "context" / source)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "-w",
        tmp_path,
        tmp_path / "context",
    ]
    subprocess.run(pip, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    assert {"stdo/play.py", "stdo/conf/train.yaml"} <= set(zipfile.ZipFile(wheel).namelist())
