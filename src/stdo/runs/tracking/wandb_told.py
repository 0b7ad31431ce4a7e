"""W&B settings: what the user has set in W&B's own ways, and our defaults."""

from __future__ import annotations

import configparser
import os
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stdo.core.types import Json, UserError

ANSWER_SECONDS, INIT_SECONDS, UPLOAD_SECONDS = 3, 30, 300

OURS: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    # a killed run loses no more than that; W&B's own is 15 seconds
    "x_transaction_log_flush_interval": 1,
    "init_timeout": INIT_SECONDS,
    "finish_timeout": UPLOAD_SECONDS,
    "finish_timeout_raises": True,
}
"""What we would have W&B do, each unless the user told W&B otherwise."""


def told_to_wandb() -> Json:
    """What W&B was told by the environment and by its settings files, by the names of its settings.

    Raises:
        UserError: A value is none that W&B takes, or a settings file is damaged.
    """
    # Set before the import: W&B reports on its own working even offline, where nobody has agreed to
    # that.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    for file in _settings_files():
        _check_file(file)
    try:
        system = wandb.setup(wandb.Settings(silent=True)).settings.settings_system
        settings = wandb.Settings(silent=True, settings_system=system)
        settings.update_from_system_settings()
        settings.update_from_env_vars(dict(os.environ))
    except ValueError as error:
        raise UserError(f"logger=wandb: W&B's {_complaint(error)}") from error
    told = {
        name: getattr(settings, name) for name in settings.model_fields_set - {"settings_system"}
    }
    if "WANDB_SILENT" not in os.environ:
        told.pop("silent")  # that was us
    return told


def _settings_files() -> tuple[Path, Path]:
    """Where W&B looks for settings files: below the current folder, which counts first, and in the
    home."""
    import wandb

    here = wandb.Settings().settings_workspace  # read before WANDB_DIR is
    home = os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb"
    return Path(here), Path(home).expanduser() / "settings"


def _check_file(path: Path) -> None:
    """Raise UserError where a settings file is damaged. W&B itself prints a traceback or nothing,
    and goes on without what the file says, such as ``mode = disabled``."""
    parser = configparser.ConfigParser()  # W&B's own, so that we refuse what it cannot read
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        found = dict(parser["default"]) if parser.has_section("default") else {}
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged ({_damage(error)}); mend or delete it") from error
    if not parser.has_section("default") and (parser.sections() or parser.defaults()):
        raise UserError(f"{path}: damaged (no line [default]); mend or delete it")
    _check_values(path, found)


def _damage(error: configparser.Error | UnicodeDecodeError) -> str:
    """What is wrong with a settings file, in a few words."""
    if isinstance(error, UnicodeDecodeError):
        return "no text"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"no line [default] before line {error.lineno}"
    if isinstance(error, configparser.ParsingError):
        return f"line {error.errors[0][0]} is no setting"
    return " ".join(error.message.replace("'<string>'", "").split())


def _check_values(path: Path, found: dict[str, str]) -> None:
    """Raise UserError for a value that W&B does not take."""
    import wandb

    # W&B reads the first one in a way of its own, and passes the others over with a line
    apart = ("ignore_globs", "anonymous", "settings_system", "root_dir")
    values: Json = {name: value for name, value in found.items() if name not in apart}
    try:
        wandb.Settings(**values)
    except (ValueError, wandb.Error) as error:
        raise UserError(f"{path}: W&B's {_complaint(error)}; mend or delete it") from error


def _complaint(error: Exception) -> str:
    """Which setting, its value and what is allowed, of an error of pydantic's."""
    errors: list[Json] = getattr(error, "errors", list)()
    if not errors:
        return " ".join(str(error).split())
    name = ".".join(map(str, errors[0]["loc"]))
    return f"setting {name}={errors[0]['input']}: {errors[0]['msg']}"


@dataclass(frozen=True)
class Mode:
    """How to run. name: ``online``, ``offline``, ``disabled``, or ``auto``. why: who says so."""

    name: str
    why: str = ""


def mode_of(asked: str, told: Json) -> Mode:
    """What the logger's setting says, else what W&B was told."""
    if asked != "auto":
        return Mode(asked, f"logger.mode={asked}")
    names = {"dryrun": "offline", "run": "online", "shared": "online"}
    known = told.get("mode")
    if not known:
        return Mode("auto")
    return Mode(names.get(known, str(known)), _who_says(known))


def _who_says(mode: str) -> str:
    """Where W&B was told its mode."""
    if os.environ.get("WANDB_MODE"):
        return f"WANDB_MODE={mode}"
    for path in _settings_files():
        parser = configparser.ConfigParser(interpolation=None)
        with suppress(OSError, ValueError, configparser.Error):
            if parser.read(path, encoding="utf-8") and parser.has_option("default", "mode"):
                return f"mode = {mode} in {path}"
    return f"W&B's own setting, mode={mode}"


def reachable(asked: Mode) -> Mode:
    """Online where there is an API key and, unless online was asked for in W&B's own ways, the
    server answers."""
    import wandb

    settings = wandb.setup(
        wandb.Settings(mode="online")
    ).settings  # told to be offline, W&B looks for no key
    try:
        if not wandb.login(prompt=False, verify=False):
            return Mode("offline", "no API key; wandb login asks for one")
    except wandb.Error as error:
        return Mode("offline", " ".join(str(error).split()))
    host = str(settings.base_url)
    if asked.why.startswith(("WANDB_MODE", "mode =")) or _answers(host):
        return Mode("online")
    return Mode("offline", f"no answer from {host}")


def _answers(host: str) -> bool:
    """Whether a server answers within a few seconds, whatever it says."""
    try:
        urllib.request.urlopen(host, timeout=ANSWER_SECONDS).close()  # noqa: S310  W&B's own setting
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True
