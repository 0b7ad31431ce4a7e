"""stdo: video delivery by overfitted super-resolution (STDO/JSTDO, CVPR 2023, and the systems it
compares with)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stdo.api import Recipe, Run, open_clip, results
    from stdo.core.types import UserError
    from stdo.player.client import Player
    from stdo.runs.result import Result
    from stdo.video.clip import Clip

__version__ = "0.1.0"

__all__ = ["Clip", "Player", "Recipe", "Result", "Run", "UserError", "open_clip", "results"]

_PLACES = {
    "Clip": "stdo.video.clip",
    "Player": "stdo.player.client",
    "Recipe": "stdo.api",
    "Result": "stdo.runs.result",
    "Run": "stdo.api",
    "UserError": "stdo.core.types",
    "open_clip": "stdo.api",
    "results": "stdo.api",
}
"""Where each name is defined; imported when it is first used, since a player must not wait for what
trains."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'stdo' has no attribute {name!r}")
    try:
        return getattr(import_module(_PLACES[name]), name)
    except ModuleNotFoundError as error:
        from stdo.core.imports import lacking

        line = lacking(error)
        if line is None:
            raise
        raise ModuleNotFoundError(f"stdo.{name} {line}", name=error.name) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
