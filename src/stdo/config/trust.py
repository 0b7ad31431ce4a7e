"""Trust: what a ``_target_`` may name, on the command line and in a run directory.

A run directory may come from a stranger. Its configuration says which video, backbone and chunks it
has; it cannot make us import or call anything that our own conf/ does not, or read an environment
variable.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stdo.core.foreign import printable
from stdo.core.plugins import LOADED, owner, refuse_missing
from stdo.core.types import UserError
from stdo.runs.directory import refuse_links
from stdo.runs.files import read_config, settings_of

TRUSTED = ("stdo.", "torch.optim.", "pytorch_lightning.")
"""Only what these packages and plugins define may be named by a ``_target_``, wherever a
configuration comes from."""

CONFIG_KEYS = ["degrade", "patches", "paths", "scale", "video"]
"""What the configuration of a run directory must have for its clip to be opened again."""


BUILT = ("video", "degrade", "patches")
"""The parts of a run directory's configuration that are built again: what its clip is made of."""

RENAMED = {
    "stdo.clip.PatchSize": "stdo.video.clip.PatchSize",
    "stdo.training.data.PatchSize": "stdo.video.clip.PatchSize",
}
"""What a ``_target_`` of what is `BUILT` was called, and is now: run directories of before have the
old names."""


def conf_dir() -> Path:
    """The configuration tree: inside an installed package, or beside ``src`` in a checkout."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "conf"


def conf_dirs() -> list[Path]:
    """Ours, and those of the plugins."""
    return [conf_dir(), *(folder for plugin in LOADED.values() for folder in plugin.conf)]


def load_config(directory: Path) -> DictConfig:
    """The configuration of a run directory, which may be a stranger's: plain values alone.

    Raises UserError when it is not one.
    """
    try:
        refuse_links(directory)
        text = read_config(directory)
        # A mapping whose parts are what they must be
        settings_of(text, f"run={directory}: config.yaml")
        config = OmegaConf.create(text)
    except UserError:
        raise
    except (
        OSError,
        OmegaConfBaseException,
        ValueError,
        AssertionError,
        RecursionError,
        yaml.YAMLError,
    ) as error:
        raise UserError(
            f"run={directory}: not a run directory (no readable config.yaml in it)"
        ) from error
    if not isinstance(config, DictConfig):
        raise UserError(f"run={directory}: its config.yaml is not a configuration")
    for value in _texts(OmegaConf.to_container(config, resolve=False)):
        # Ours are written with every value in place; these could read environment variables
        if "${" in value:
            raise UserError(
                f"run={directory}: config.yaml holds {printable(value[:60])}: must be plain values"
            )
    lacking = [key for key in CONFIG_KEYS if key not in config]
    if lacking:
        raise UserError(
            f"run={directory}: is of another version (no {', '.join(lacking)} in its config.yaml)"
        )
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict), plain
    _check_parts(directory, plain)
    refuse_missing(directory, plain.get("plugins") or [])
    for group in BUILT:
        config[group] = renamed(plain[group], RENAMED)
    return config


def _check_parts(directory: Path, config: Mapping[Any, Any]) -> None:
    """Raise UserError unless the parts that are built again have a form at all."""
    for part, keys in (
        dict.fromkeys(BUILT, ("_target_",)) | {"paths": ("cache", "outputs")}
    ).items():
        given, where = config[part], f"run={directory}: config.yaml: {part}"
        if not isinstance(given, dict):
            raise UserError(f"{where}={printable(str(given)[:60])}: must be a mapping")
        lacking = [key for key in keys if key not in given]
        if lacking:
            raise UserError(f"{where}.{lacking[0]}: must be given")


def renamed(settings: Any, names: Mapping[str, str]) -> Any:
    """Nested settings with each ``_target_`` as ``names`` calls it."""
    if isinstance(settings, list):
        return [renamed(each, names) for each in settings]
    if not isinstance(settings, dict):
        return settings
    found = {key: renamed(each, names) for key, each in settings.items()}
    if "_target_" in found:
        found["_target_"] = names.get(str(found["_target_"]), found["_target_"])
    return found


def refuse_untrusted(settings: Any) -> None:
    """Raise UserError for a ``_target_`` that is not defined in one of `TRUSTED`, or in a plugin.

    The name alone proves nothing: ``stdo.core.files.os.system`` begins well.
    """
    trusted = (*TRUSTED, *(f"{name}." for name in LOADED))
    for target in _targets(settings):
        try:
            with _hushed(logging.getLogger("hydra.utils")):  # which says the same in more lines
                found = get_object(target) if target.startswith(trusted) else None
        except ImportError as error:
            raise UserError(f"_target_={target}: there is no such class or function") from error
        if not f"{getattr(found, '__module__', None)}.".startswith(trusted):
            package = target.partition(".")[0]
            own = "" if owner(target) else f"; plugins={package} would trust a package of yours"
            raise UserError(
                f"_target_={target}: must be defined in one of {', '.join(trusted)}{own}"
            )


@contextmanager
def _hushed(log: logging.Logger) -> Iterator[None]:
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def refuse_foreign(directory: Path, run: DictConfig) -> None:
    """Raise UserError for a ``_target_`` that no conf/ names, ours or a plugin's, in what is
    `BUILT` of a run's configuration.

    Of Hydra's other words, such as ``_partial_``, none belongs there.
    """
    for group in BUILT:
        files = [file for folder in conf_dirs() for file in (folder / group).glob("*.yaml")]
        known = {target for file in files for target in _targets(_plain(OmegaConf.load(file)))}
        for target in _targets(_plain(run[group])):
            if target not in known:
                where = f"run={directory}: config.yaml: {group}"
                allowed = f"must be one of {', '.join(sorted(known))}"
                raise UserError(f"{where}: _target_={printable(target[:60])}: {allowed}")
        words = [str(key) for key in run[group] if str(key).startswith("_") and key != "_target_"]
        if words:
            raise UserError(
                f"run={directory}: config.yaml: {group}.{printable(words[0][:60])}: must be "
                "left out"
            )


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node


def _targets(node: Any) -> Iterator[str]:
    """Every ``_target_`` in nested settings."""
    if isinstance(node, dict) and "_target_" in node:
        yield str(node["_target_"])
    for child in _children(node):
        yield from _targets(child)


def _children(node: Any) -> list[Any]:
    """What a mapping or a list holds; nothing of a plain value."""
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def _texts(node: Any) -> Iterator[str]:
    """Every text in nested settings, names too."""
    if isinstance(node, str):
        yield node
    for child in [*(node if isinstance(node, dict) else ()), *_children(node)]:
        yield from _texts(child)
