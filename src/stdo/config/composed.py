"""Compose the configuration from settings given as Python values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stdo.config.errors import one_line
from stdo.config.help import no_such_setting
from stdo.config.settings import settle
from stdo.config.trust import conf_dir
from stdo.config.words import OPEN, as_called_now
from stdo.core.types import UserError


def configured(settings: Mapping[str, Any]) -> DictConfig:
    """The configuration of a training command with these settings.

    Args:
        settings: By their names on the command line. Names of folders of conf/ choose one of their
            files. The plugins among them must be active.

    Raises:
        UserError: A setting or a choice is not there.
    """
    chosen = [name for name in settings if name.isidentifier() and (conf_dir() / name).is_dir()]
    with explained(), initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        config = compose("train", [f"{name}={settings[name]}" for name in chosen])
        for name, value in settings.items():
            if name not in chosen:
                _put(config, name, value)
    settle(config)
    return config


def _put(config: DictConfig, name: str, value: Any) -> None:
    name = as_called_now(name)
    known = _names(OmegaConf.to_container(config, resolve=False))
    if OPEN.match(f"{name}="):
        OmegaConf.update(config, name, value, force_add=True)
        return
    if name not in known:
        raise UserError(no_such_setting(name, known))
    OmegaConf.update(config, name, value)


def _names(settings: Any, above: str = "") -> list[str]:
    """The names of all settings, with those of the groups that they are in."""
    found = []
    for key, value in settings.items():
        found.append(f"{above}{key}")
        if isinstance(value, dict):
            found += _names(value, f"{above}{key}.")
    return found


@contextmanager
def explained() -> Iterator[None]:
    """Raise what Hydra complains of as UserError, in one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from error
