"""Plugins: importable packages of users, whose code the commands may build.

A plugin is named on the command line (``plugins=[mypkg]``), in the environment (`VARIABLE`), or by
an installed distribution (entry points of `GROUP`). Nothing else makes one be imported: a run
directory, which may be a stranger's, only remembers names. Standard library alone.
"""

import importlib
import os
import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stdo.core.foreign import printable
from stdo.core.types import UserError

VARIABLE = "STDO_PLUGINS"
"""Environment variable that names plugins, with commas between them."""

GROUP = "stdo.plugins"
"""Entry points of installed distributions: each names a package."""

NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
"""A package as Python imports it, such as ``mypkg`` or ``lab.mypkg``."""

Found = tuple[str, str]
"""A package, and the distribution that installed it."""


@dataclass(frozen=True)
class Plugin:
    """An imported plugin.

    Attributes:
        name: Of the package.
        folders: Where it lies; none where it is a single module.
    """

    name: str
    folders: tuple[Path, ...]

    @cached_property
    def conf(self) -> tuple[Path, ...]:
        """Its folders of configuration files, laid out as ours is."""
        return tuple(folder / "conf" for folder in self.folders if (folder / "conf").is_dir())


LOADED: dict[str, Plugin] = {}
"""The plugins that this process has imported, by name, in the order of their import."""


def named(text: str) -> list[str]:
    """The names in a text such as ``[mypkg,other]`` or ``mypkg``, each once.

    Raises UserError for what cannot be the name of a package.

    >>> named("[mypkg, lab.other]")
    ['mypkg', 'lab.other']
    """
    names = [each.strip(" \t'\"") for each in text.strip(" \t'\"").strip("[]").split(",")]
    for name in names:
        if name and not re.fullmatch(NAME, name):
            meant = name.replace("-", "_")
            near = f"; did you mean {meant}?" if re.fullmatch(NAME, meant) else ""
            raise UserError(
                f"plugins={name}: must be packages as Python imports them, such as mypkg{near}"
            )
    return list(dict.fromkeys(name for name in names if name))


def of_environment() -> list[str]:
    """The plugins that `VARIABLE` names."""
    return named(os.environ.get(VARIABLE, ""))


def load(names: Sequence[str]) -> None:
    """Import the plugins of these names, and those that are installed; each once for a process.

    Raises:
        UserError: There is no such package, it cannot be imported, or two installed ones have the
            same name.
    """
    for name in (*names, *_installed()):
        if name not in LOADED:
            LOADED[name] = _imported(name)


def owner(place: str) -> str | None:
    """The plugin that something belongs to; None where it is no plugin's.

    Args:
        place: ``mypkg.nets.Tiny``, or ``mypkg.losses:soft``.
    """
    dotted = f"{place.replace(':', '.')}."
    owners = [name for name in LOADED if dotted.startswith(f"{name}.")]
    return max(owners, key=len, default=None)


def refuse_missing(directory: Path, names: Sequence[str]) -> None:
    """Raise UserError where a run directory names plugins that this process has not imported."""
    missing = [name for name in names if name not in LOADED]
    if missing:
        several = f"[{','.join(names)}]" if len(names) > 1 else names[0]
        raise UserError(
            f"run={printable(str(directory))}: was made with the plugin {missing[0]}, which is not "
            f"loaded; plugins={several} imports it, if you trust it"
        )


def function(setting: str, place: str) -> Any:
    """The function of a plugin that a setting names.

    Args:
        setting: For messages.
        place: ``mypkg.losses:soft``.

    Raises:
        UserError: There is no such function, or it is no plugin's.
    """
    module, _, name = place.partition(":")
    if owner(place) is None:
        package = module.partition(".")[0]
        raise UserError(f"{setting}={place}: is of no plugin; plugins={package} makes it one")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{setting}={place}: must be package.module:function ({error})") from error
    if not callable(found):
        raise UserError(f"{setting}={place}: is not callable")
    return found


def _installed() -> list[str]:
    """The packages that installed distributions name.

    Raises UserError where two distributions call theirs the same.
    """
    from importlib.metadata import entry_points

    found: dict[str, Found] = {}
    for point in entry_points(group=GROUP):
        by = point.dist.name if point.dist is not None else "?"
        if point.attr or not re.fullmatch(NAME, point.module):
            raise UserError(
                f"{GROUP}: {point.name} of {by} is {point.value}: must be the name of a package"
            )
        package, other = found.setdefault(point.name, (point.module, by))
        if package != point.module:
            raise UserError(
                f"{GROUP}: {other} and {by} both install a plugin called {point.name} ({package} "
                f"and {point.module}): uninstall one"
            )
    return list(dict.fromkeys(package for package, _ in found.values()))


def _imported(name: str) -> Plugin:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(name, error) from error
        raise UserError(
            f"plugins={name}: no such package; install it, or put its folder on PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error
    return Plugin(name, tuple(Path(folder) for folder in getattr(module, "__path__", ())))


def _broken(name: str, error: BaseException) -> UserError:
    """The error for a plugin that raises something while it is imported: what, and in which
    line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    at = "" if "importlib" in last.filename else f", {last.filename}:{last.lineno}"
    return UserError(f"plugins={name}: cannot be imported ({said}{at})")
