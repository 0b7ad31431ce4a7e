"""Every command of README, docs and studies is one that works: settings compose and pass the
checks, options and make targets exist. Nothing is decoded; those of the README also run, in small.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from documented import PAGES, ROOT, blocks, commands
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from packaging.requirements import Requirement

from stdo.cli.app import _flags_first
from stdo.cli.play import _parser
from stdo.config.plugins import activate, from_words
from stdo.config.settings import check, check_chunks, settle
from stdo.config.studies import expanded, open_study
from stdo.config.trust import conf_dir
from stdo.config.words import as_meant
from stdo.core.plugins import LOADED
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TYPED = sorted(
    {(path.relative_to(ROOT).as_posix(), *words) for path in PAGES for words in commands(path)}
)
STUDIES = [typed for typed in TYPED if typed[0].startswith("experiments/")]
DOCS = [typed for typed in TYPED if typed not in STUDIES]
OTHERS = ("docker", "pre-commit", "tensorboard")
"""Programs of others."""

SMALL = ["trainer=cpu", "patches.height=12", "patches.width=16", "budget.passes=1"]
"""What makes a command of the README a matter of seconds on a tiny clip."""


def jobs(command: str, words: Sequence[str]) -> list[list[str]]:
    """The settings of a command; of a sweep so many that each value comes once."""
    there = [
        word.replace("mine.yaml", str(ROOT / "experiments/table1/study.yaml")) for word in words
    ]
    meant = as_meant(_flags_first(expanded(there) if command == "train" else words))
    typed = meant[meant.index("--") + 1 :] if "--" in meant else []
    plain = [word for word in typed if not word.startswith(("hydra", "plugins="))]
    choices: list[list[str]] = []
    for override in OverridesParser.create().parse_overrides(plain):
        if override.is_discrete_sweep():
            choices.append(
                [
                    f"{override.get_key_element()}={each}"
                    for each in override.sweep_string_iterator()
                ]
            )
        elif not override.is_sweep_override():
            choices.append([override.input_line])
    most = max([1, *map(len, choices)])
    return [[each[index % len(each)] for each in choices] for index in range(most)]


def composes(command: str, words: Sequence[str]) -> None:
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        for job in jobs(command, words):
            config = compose(command, job)
            settle(config)
            if command == "report":
                assert (
                    config.study is None
                    or config.study.endswith(".yaml")
                    or open_study(config.study)
                )
                continue
            check(
                {
                    key: value
                    for key, value in config.items()
                    if command == "train" or key not in ("paths", "run")
                }
            )
            if command == "train" and config.chunking.name != "whole":
                check_chunks(config)


@contextmanager
def plugins_of(words: Sequence[str]) -> Iterator[None]:
    """With the plugins that a command names, of which examples/plugin is one."""
    known = dict(LOADED)
    sys.path.insert(0, str(ROOT / "examples" / "plugin"))
    try:
        activate(from_words(words)[0])
        yield
    finally:
        sys.path.remove(str(ROOT / "examples" / "plugin"))
        LOADED.clear()
        LOADED.update(known)


def is_made(words: Sequence[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name = word.partition("=")[0]
        # A variable has a default, or a recipe reads it; a target explains itself to `make help`.
        defined = rf"^{name} [?:]?=|^\t.*\$\({name}\)" if "=" in word else rf"^{name}:.*##"
        assert re.search(defined, makefile, re.MULTILINE), word


def is_installed(words: Sequence[str]) -> None:
    assert words[0] == "install"
    for option, file in pairwise(words):
        assert (
            option not in ("-c", "-r", "--requirement", "--constraint") or (ROOT / file).exists()
        ), file
    for word in words:
        if word.startswith((".", "stdo")) and "/" not in word:
            extras = Requirement(
                word.replace(".", "stdo", 1) if word.startswith(".") else word
            ).extras
            assert extras <= set(PROJECT["optional-dependencies"]), word


def is_a_script(words: Sequence[str]) -> None:
    text = (ROOT / words[0]).read_text(encoding="utf-8")
    for word in words:
        assert not word.startswith("--") or f'"{word}"' in text, f"{words[0]}: {word}"


def checked(words: Sequence[str]) -> None:
    """Raise what is wrong with a command. words: without its environment."""
    program, *rest = words
    if program == "python" and rest[0] == "-m":
        program, rest = rest[1].replace("stdo.", "stdo-"), rest[2:]
    if program == "stdo-play":
        assert not rest or _parser().parse_args(rest)
    elif program.startswith("stdo-"):
        assert program in PROJECT["scripts"]
        if not any(word.startswith(("--config-dir", "hydra.searchpath")) for word in rest):
            # Those test_plugin_commands.py runs: they need the folder
            with plugins_of(rest):
                composes(program.removeprefix("stdo-"), rest)
    elif program == "make":
        is_made(rest)
    elif program == "pip":
        is_installed(rest)
    elif program == "python":
        is_a_script(rest)
    else:
        assert program in OTHERS, f"{program}: which program is this?"


@pytest.mark.parametrize("typed", DOCS, ids=lambda typed: " ".join(typed)[:120])
def test_a_documented_command_is_one(typed: tuple[str, ...]) -> None:
    checked([word for word in typed[1:] if word != "…"])


@pytest.mark.slow  # many sweeps: twenty seconds together
@pytest.mark.parametrize("typed", STUDIES, ids=lambda typed: " ".join(typed)[:120])
def test_the_command_of_a_study_is_one(typed: tuple[str, ...]) -> None:
    checked([word for word in typed[1:] if word != "…"])


def test_commands_are_found() -> None:
    of_readme = [words for page, *words in TYPED if page == "README.md"]
    assert ["make", "train"] in of_readme
    assert len({page for page, *_ in TYPED}) > 20 and len(TYPED) > 80


@pytest.mark.parametrize(
    "wrong",
    [
        "python -m stdo.train chunk=3", "python -m stdo.train method=sdto",
        "python -m stdo.train -m chunks=2,none", "make trian", "make train ARG=x",
        "pip install '.[trian]'", "python benchmarks/bench.py --quik",
    ],
)  # fmt: skip
def test_a_wrong_command_would_be_noticed(wrong: str) -> None:
    (words,) = blocks(f"```sh\n{wrong}\n```\n")
    with pytest.raises(Exception, match=r".+"):
        checked(words)


def call(words: Sequence[str], cwd: Path) -> str:
    done = subprocess.run(
        words, cwd=cwd, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.slow
def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    """As they stand there, in order, on a tiny clip; installing is tested by test_install.py."""
    clip = GeneratedClip(width=96, height=72, frames=4, rate=25, seed=0)
    with VideoWriter(tmp_path / "clip.mp4", 96, 72, clip.info.rate, "x264") as writer:
        for frame in clip:
            writer.write(frame)
    ran = []
    for program, *rest in blocks((ROOT / "README.md").read_text(encoding="utf-8")):
        if program == "make":
            made(rest, tmp_path)
        elif program == "python" and rest[1] == "stdo.play":
            (package,) = (tmp_path / "outputs" / "clip").glob("*/clip.stdo")
            call([sys.executable, *rest[:2], str(package), *rest[3:]], tmp_path)
        elif program == "python":
            call([sys.executable, *rest, *SMALL], tmp_path)
        else:
            assert program == "pip"
            continue
        ran.append(rest[1:2])
    assert ["stdo.play"] in ran and (tmp_path / "out.mp4").stat().st_size > 1000


def made(targets: Sequence[str], folder: Path) -> None:
    """Run make with this environment in place of the one that it would set up."""
    short = ["trainer=cpu", "video.max_frames=1", "budget.passes=0.5"]
    settings = [*short, f"paths.outputs={folder}/made", f"paths.cache={folder}/cache"]
    environment = ("VENV=" + sys.prefix, "--old-file=" + sys.prefix + "/.ready")
    call(["make", *targets, *environment, "ARGS=" + " ".join(settings)], ROOT)
