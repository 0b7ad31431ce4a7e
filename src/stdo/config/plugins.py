"""What plugins add to the configuration: their choices, and what their runs remember of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from stdo.config.trust import conf_dir
from stdo.core.plugins import LOADED, NAME, load, named, of_environment, owner
from stdo.core.types import UserError

_WORD = re.compile(r"(\+{0,2})plugins=(.*)", re.DOTALL)
_FUNCTION = re.compile(NAME + r":\w+")


class Folders(SearchPathPlugin):
    """Lets Hydra find the configuration files of the plugins."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append their folders, so that ours come first."""
        for plugin in LOADED.values():
            for folder in plugin.conf:
                search_path.append(f"plugin {plugin.name}", f"file://{folder.resolve()}")


def from_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The plugins that a command line and the environment name, and the command line with all of
    them in one list.

    Args:
        words: As in ``sys.argv[1:]``. Of several ``plugins=…`` the last counts, as with every
            setting.

    Raises:
        UserError: Something in it cannot be the name of a package.
    """
    typed = [found[2] for word in words if (found := _WORD.fullmatch(word))]
    names = with_environment(typed[-1:])
    others = [word for word in words if not _WORD.fullmatch(word)]
    return names, [*others, f"plugins=[{','.join(names)}]"] if names or typed else others


def activate(names: Sequence[str]) -> None:
    """Import plugins, those of `from_words` and those that are installed, and let Hydra find their
    files.

    Raises:
        UserError: As `stdo.core.plugins.load`; or two of them, or one and stdo, have a file of one
            name, of which Hydra would take the first.
    """
    load(names)
    if LOADED:
        refuse_hidden(
            [("stdo", conf_dir())]
            + [(f"plugins={each.name}", folder) for each in LOADED.values() for folder in each.conf]
        )
        Plugins.instance().register(Folders)


def with_environment(names: str | Sequence[str]) -> list[str]:
    """These plugins and those of the environment, each once. Raises UserError as `from_words`."""
    text = names if isinstance(names, str) else ",".join(names)
    return list(dict.fromkeys([*named(text), *of_environment()]))


def refuse_hidden(folders: Sequence[tuple[str, Path]]) -> None:
    """Raise UserError for a configuration file that an earlier folder hides, unless both are the
    same.

    Args:
        folders: In the order in which Hydra looks into them: whose each one is, and where.
    """
    seen: dict[Path, tuple[str, Path]] = {}
    for whose, folder in folders:
        for file in sorted(folder.rglob("*.yaml")):
            name = file.relative_to(folder)
            first, other = seen.setdefault(name, (whose, file))
            if other != file and other.read_bytes() != file.read_bytes():
                raise UserError(
                    f"{whose}: {file}: would not be read, since {first} has a {name} as well; "
                    "give it another name"
                )


def refuse_late(config: Mapping[Any, Any], names: Sequence[str]) -> None:
    """Raise UserError for plugins that a configuration file names: too late, and nobody typed them.

    Args:
        config: As it was composed.
        names: Of `from_words`.
    """
    late = [str(name) for name in config.get("plugins") or () if name not in names]
    if late:
        raise UserError(
            f"plugins={late[0]}: must be given on the command line or in STDO_PLUGINS, not in a "
            "configuration file"
        )


def used(names: Sequence[str], settings: Any) -> list[str]:
    """What a run remembers: the plugins that were asked for, and of the others those that its
    settings name a class or function of."""
    owners = {owner(place) for place in _places(settings)}
    return [*names, *(name for name in LOADED if name in owners and name not in names)]


def _places(node: Any, key: str = "") -> Iterator[str]:
    """Every class and function that nested settings name: ``mypkg.nets.Tiny``,
    ``mypkg.losses:soft``."""
    if isinstance(node, str):
        if key == "_target_" or _FUNCTION.fullmatch(node):
            yield node
    elif isinstance(node, Mapping):
        for name, child in node.items():
            yield from _places(child, str(name))
    elif isinstance(node, list):
        for child in node:
            yield from _places(child)
