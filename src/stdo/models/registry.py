"""The backbones by name: whatever the files in ``backbones/`` and plugins define. And the sharings,
of the files beside this one."""

import importlib
import pkgutil
from functools import cache
from inspect import isabstract
from pathlib import Path
from typing import Any

import torch
import yaml

from stdo import models
from stdo.core.plugins import LOADED, Plugin, owner
from stdo.core.types import UserError
from stdo.models import backbones
from stdo.models.common import Backbone
from stdo.models.sharing import Sharing


def _found() -> dict[str, type[Backbone]]:
    """The one backbone that each file defines, by the file's name."""
    found = {}
    for file in pkgutil.iter_modules(backbones.__path__):
        module = importlib.import_module(f"{backbones.__name__}.{file.name}")
        for kind in vars(module).values():
            if (
                isinstance(kind, type)
                and issubclass(kind, Backbone)
                and kind.__module__ == module.__name__
            ):
                assert kind.name() == file.name, (
                    f"{file.name}.py must define a backbone of its name, not {kind.name()}"
                )
                found[file.name] = kind
    return found


BACKBONES = _found()
"""Name -> class of ours, in alphabetical order."""


@cache
def sharings() -> dict[str, type[Sharing]]:
    """The sharings that files of `stdo.models` define, by the name of the class."""
    # Here and not above: some of these files import this one
    for file in pkgutil.iter_modules(models.__path__):
        importlib.import_module(f"{models.__name__}.{file.name}")
    kinds, own = [Sharing], {}
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.__module__.startswith(f"{models.__name__}.") and not isabstract(kind):
            own[kind.__name__] = kind
    return own


def found(name: str) -> type[Backbone]:
    """The class of a backbone, ours or a plugin's.

    Raises UserError where there is none of this name, or two plugins have one.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    others = [kind for kind in of_plugins() if kind.name() == name]
    if len(others) > 1:
        owners = " and ".join(sorted(f"{kind.__module__}.{kind.__name__}" for kind in others))
        raise UserError(f"backbone={name}: both {owners} are called so; rename one, or load one")
    if not others:
        known = [*BACKBONES, *sorted({kind.name() for kind in of_plugins()})]
        raise UserError(f"backbone={name}: must be one of {', '.join(known)}")
    return others[0]


def of_plugins() -> list[type[Backbone]]:
    """The backbones that plugins define: those that their conf/backbone names, and those that
    their import made."""
    for plugin in LOADED.values():
        _import_backbones(plugin)
    kinds, seen = [Backbone], []
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if owner(kind.__module__) is not None and not isabstract(kind) and kind not in seen:
            seen.append(kind)
    return seen


def check_backbone(network: object) -> None:
    """Raise UserError unless a network can be built again from its weights: a `Backbone` that
    `found` finds by its name, whose settings are the arguments of its class, and which enlarges.

    Ours are tested; those of plugins are not.
    """
    if not isinstance(network, Backbone):
        found_instead = f"{type(network).__module__}.{type(network).__name__}"
        raise UserError(
            f"backbone.network={found_instead}: must be a subclass of stdo.models.common.Backbone"
        )
    name = name_of(network)
    if name in BACKBONES:
        return
    try:
        again = build(name, network.scale, residual=network.residual, **network.settings)
    except TypeError as error:
        raise UserError(f"backbone={name}: cannot be built from its settings ({error})") from error
    with torch.no_grad():
        shape = tuple(again.to("meta")(torch.empty(1, 3, 16, 20, device="meta")).shape)
    wanted = (1, 3, 16 * network.scale, 20 * network.scale)
    if shape != wanted:
        raise UserError(f"backbone={name}: makes {shape} of (1, 3, 16, 20): must make {wanted}")


@cache
def _import_backbones(plugin: Plugin) -> None:
    """Import what the files of a plugin's conf/backbone name of its own."""
    for folder in plugin.conf:
        for file in sorted(folder.glob("backbone/*.yaml")):
            target = _target(file)
            if owner(target) is not None:
                _import(target, file)


def _target(file: Path) -> str:
    """What class a file of conf/backbone names; empty where none."""
    try:
        return str(yaml.safe_load(file.read_text(encoding="utf-8"))["network"]["_target_"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return ""  # Hydra says what is wrong with it, where it is chosen


def _import(target: str, file: Path) -> None:
    module, _, name = target.rpartition(".")
    try:
        getattr(importlib.import_module(module), name)
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise UserError(f"{file}: _target_={target}: cannot be imported ({said})") from error


def build(name: str, scale: int, **options: Any) -> Backbone:
    """A new backbone, its weights drawn from torch's global generator.

    Args:
        name: A key of `BACKBONES`, or the name of a plugin's.
        options: The backbone's own arguments (``init``, ``residual``, `Backbone.settings`).

    Raises:
        UserError: For an unknown name, scale, init or residual.
    """
    return found(name)(scale, **options)


def name_of(backbone: Backbone) -> str:
    """The name under which `found` finds the class of ``backbone``.

    Raises UserError where it finds another: a class of a plugin needs a name of its own.
    """
    kind = type(backbone)
    other = found(kind.name())
    if other is not kind:
        theirs, ours = (f"{each.__module__}.{each.__name__}" for each in (kind, other))
        raise UserError(f"backbone={kind.name()}: {theirs} has the name of {ours}; rename it")
    return kind.name()
