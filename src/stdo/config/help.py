"""The text of ``--help``: default, meaning and range of each setting, from the schema."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from omegaconf import DictConfig, OmegaConf

from stdo.config.trust import conf_dir
from stdo.runs.settings import SETTINGS, flat

COLUMN, WIDTH = 30, 110
"""Where the text begins, and how wide a line may be."""


def listing(config: DictConfig) -> str:
    """The settings that a configuration has, one below the other.

    Args:
        config: As a command composes it; may lack values that must be given.

    Returns:
        Lines of ``name=default``, what it means, and what it may be. Settings that the schema does
        not know, such as arguments of Lightning's Trainer, are left to ``--cfg job``.
    """
    parts = {key: node for key, node in config.items_ex(resolve=False) if key != "hydra"}
    plain = OmegaConf.to_container(OmegaConf.create(parts), resolve=False)
    known = {name for name, _ in flat(plain)} & SETTINGS.keys()
    lines: list[str] = []
    for name in (each for each in SETTINGS if each in known):
        lines += _entry(name, _default(config, name))
    return "\n".join(lines).replace("$", "$$")  # Hydra fills a template with it


def _default(config: DictConfig, name: str) -> str:
    if OmegaConf.is_missing(
        OmegaConf.select(config, name.rpartition(".")[0]) or config, name.rpartition(".")[2]
    ):
        return "???"
    value = OmegaConf.select(config, name)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _entry(name: str, default: str) -> Iterator[str]:
    setting = SETTINGS[name]
    head = f"{name}={default}"
    free = setting.accepts("any text") or setting.accepts("word")
    range_of = "" if free else f" ({setting.allowed})"
    text = textwrap.wrap(setting.help + range_of, WIDTH - COLUMN)
    if len(head) >= COLUMN:
        yield head
    else:
        yield f"{head:<{COLUMN}}{text.pop(0)}"
    for line in text:
        yield " " * COLUMN + line


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a line about a misspelt name: ``; did you mean chunks?``, or nothing where none is
    near."""
    others = [each for each in known if each != name]  # one of another command
    near = get_close_matches(name, others, 1)
    return f"; did you mean {near[0]}?" if near else ""


def no_such_setting(name: str, known: Iterable[str] | None = None) -> str:
    """The line about a setting that is not there.

    Args:
        name: As it was typed.
        known: Names that there are; None: all settings and groups.
    """
    names = [*SETTINGS, *_groups()] if known is None else known
    return f"{name}: no such setting{meant(name, names)}"


def _groups() -> list[str]:
    return [path.name for path in conf_dir().iterdir() if path.is_dir()]
