"""What all commands share: start of Hydra, one-line errors, exit codes, sweeps.

Hydra and OmegaConf stay in `stdo.cli` and `stdo.config`. Heavy packages are imported when they are
needed, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from stdo import __version__
from stdo.cli.mistakes import mistakes
from stdo.cli.sweep import Watch, Work
from stdo.config.errors import MISTAKES, one_line
from stdo.config.plugins import activate, from_words
from stdo.config.studies import expanded
from stdo.config.trust import conf_dir
from stdo.config.words import as_meant
from stdo.core.console import prepare
from stdo.core.signals import heeded
from stdo.core.types import UserError


def enter(task: Callable[[DictConfig], Path | None], config_name: str) -> None:
    """Run a Hydra task; a user's mistake becomes one line and exit code 2.

    In a sweep, a job that fails is listed at the end and the others go on. ``HYDRA_FULL_ERROR=1``
    shows the traceback instead.

    Args:
        task: returns its run directory, if it has one.
        config_name: its configuration in conf/.
    """
    prepare()
    if "--version" in sys.argv[1:]:
        sys.stdout.write(f"stdo {__version__}\n")
        return
    asked = os.environ.get("HYDRA_FULL_ERROR")
    full = asked == "1"
    several = {"-m", "--multirun"} & set(sys.argv[1:])
    typed = sys.argv
    work, watch = Work(task, typed, full), Watch(full)
    os.environ["HYDRA_FULL_ERROR"] = (
        "1"  # makes Hydra hand its errors to us instead of printing them
    )
    try:
        with mistakes(full), heeded():
            if several and config_name != "train":
                raise UserError(
                    f"{several.pop()}: only stdo.train sweeps; call this once for each run"
                )
            words = typed[1:]
            if config_name != "report":  # which builds nothing
                # Before the study's file is read: it may be a stranger's, and names none
                work.plugins, words = from_words(words)
                activate(work.plugins)
            if config_name == "train":
                words = expanded(words)
            sys.argv = [typed[0], *as_meant(_flags_first(words))]
            run = hydra.main(
                version_base="1.3", config_path=str(conf_dir().resolve()), config_name=config_name
            )(work)
            with watch.watching():
                ended = _swept(run, watch, work)
            watch.close(ended)
    finally:
        sys.argv = typed
        os.environ["HYDRA_FULL_ERROR"] = asked or "0"


def _swept(run: Callable[[], object], watch: Watch, work: Work) -> str | None:
    """Run Hydra. Returns why a sweeper ended early, where it did: some searches end with the first
    failed job."""
    try:
        run()
    except Exception as error:
        if work.begun or watch.full:  # what a job raised here is no mistake of the command line
            raise
        if watch.board is not None and not watch.commands and isinstance(error, ValueError):
            raise UserError(f"no job: the sweeper made none ({one_line(error)})") from error
        # Such as two flags that exclude each other
        if isinstance(error, ValueError) and not watch.commands:
            raise UserError(str(error)) from error
        if not watch.commands or isinstance(error, MISTAKES):
            raise
        return one_line(error)
    if watch.board is not None and not watch.commands:
        raise UserError("no job: the sweeper made none")
    return None


class _Parser(argparse.ArgumentParser):
    """Hydra's parser, but for what it does with a mistake."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help says more")


def _flags_first(words: Sequence[str]) -> list[str]:
    """The same command line with Hydra's flags before the settings, as Hydra alone reads it: ``a=1
    -m b=2`` it refuses.

    Raises:
        UserError: There is no such flag, or it lacks its value.
    """
    parser = get_args_parser()
    parser.__class__ = _Parser
    settings = list(parser.parse_intermixed_args(list(words)).overrides)
    flags = list(words)
    for setting in settings:
        flags.remove(setting)
    # Else --info would take a setting for its value
    return [*flags, "--", *settings] if settings else flags
