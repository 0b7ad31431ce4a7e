"""Turn a user's mistake into one line."""

import re
from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from stdo.config.help import meant, no_such_setting
from stdo.config.words import how_to_quote
from stdo.core.foreign import printable
from stdo.core.types import UserError

PLUGINS = {
    "hydra/launcher/joblib": "hydra-joblib-launcher",
    "hydra/launcher/submitit_local": "hydra-submitit-launcher",
    "hydra/launcher/submitit_slurm": "hydra-submitit-launcher",
    "hydra/launcher/ray": "hydra-ray-launcher",
    "hydra/sweeper/optuna": "hydra-optuna-sweeper",
}
"""Launchers and sweepers that install with our Hydra, and their packages."""

MISTAKES = (UserError, HydraException, OmegaConfBaseException)
"""Errors that say what the user did wrong, in one line."""


def one_line(error: BaseException) -> str:
    """What went wrong and what is allowed, on one line."""
    told = _cause(error)
    if told is not None:
        return told
    if isinstance(error, OverrideParseException):
        advice = how_to_quote(error)
        if advice:
            return advice
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        return _no_such_choice(error.missing_cfg_file, list(error.options))
    missing = re.search(r"Missing mandatory value: (\S+)", str(error))
    if missing:
        return f"{missing[1]}: must be given"
    unknown = re.match(r"Could not override '([^']+)'", str(error))
    if unknown:
        return f"{no_such_setting(unknown[1])}; --help lists them"
    return printable(" ".join(str(error).split()))


def _no_such_choice(asked: str, choices: Sequence[str]) -> str:
    """The line about a choice that is not there. asked: ``backbone/wdsrr``."""
    group, _, name = asked.rpartition("/")
    package = PLUGINS.get(asked)
    if package is not None:
        return (
            f"{group}={name}: is not installed; pip install {package} (the extra cluster has it); "
            f"installed: {', '.join(choices)}"
        )
    return f"{group}={name}: must be one of {', '.join(choices)}{meant(name, choices)}"


def _cause(error: BaseException) -> str | None:
    """What was said in the first place, where Hydra tells of an error in a part that it builds."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return printable(" ".join(str(cause).split()))
        if isinstance(cause, OSError) and cause.filename is not None:
            return printable(f"{cause.filename}: cannot be read ({cause.strerror})")
        cause = cause.__cause__
    return None
