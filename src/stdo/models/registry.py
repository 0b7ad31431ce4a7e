"""The backbones by name: whatever the files in ``backbones/`` define."""

import importlib
import pkgutil
from typing import Any

from stdo.core.types import UserError
from stdo.models import backbones
from stdo.models.common import Backbone


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
"""Name -> class, in alphabetical order."""


def build(name: str, scale: int, **options: Any) -> Backbone:
    """A new backbone, its weights drawn from torch's global generator.

    Args:
        name: A key of `BACKBONES`.
        options: The backbone's own arguments (``init``, ``residual``, `Backbone.settings`).

    Raises:
        UserError: For an unknown name, scale, init or residual.
    """
    if name not in BACKBONES:
        raise UserError(f"backbone={name}: must be one of {', '.join(BACKBONES)}")
    return BACKBONES[name](scale, **options)


def name_of(backbone: Backbone) -> str:
    """The key of `BACKBONES` under which the class of ``backbone`` is listed."""
    return next(name for name, kind in BACKBONES.items() if kind is type(backbone))
