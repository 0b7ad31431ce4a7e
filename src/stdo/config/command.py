"""The command line that repeats the running job."""

import sys
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from stdo.config.studies import asked_for
from stdo.config.words import as_people_type
from stdo.runs.sweeps import job_command


def command_of() -> list[str]:
    """The words of the command that repeats the job that Hydra is running; without Hydra, those of
    this process."""
    if not in_sweep():
        return sys.argv
    runtime = HydraConfig.get()
    return job_of([*runtime.overrides.task, *runtime.overrides.hydra])


def in_sweep() -> bool:
    """Whether Hydra runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def job_of(overrides: Sequence[str]) -> list[str]:
    """The words of the command that repeats a job of this process's sweep.

    Args:
        overrides: Of the job, Hydra's own too.
    """
    words = list(map(as_people_type, overrides))
    return job_command(words, _flags(sys.argv[1:]), asked_for(sys.argv[1:]))


def _flags(words: Sequence[str]) -> list[str]:
    """The words of a command line that choose its configuration files, such as ``--config-dir
    mine``."""
    given, _ = get_args_parser().parse_known_args(list(words))
    flags = {
        name: getattr(given, name.replace("-", "_"))
        for name in ("config-path", "config-name", "config-dir")
    }
    return [
        word for name, value in flags.items() if value is not None for word in (f"--{name}", value)
    ]
