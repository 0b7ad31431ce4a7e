"""Prepare and check settings: whole numbers, home folders, ranges."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import msgspec
from omegaconf import OmegaConf

import stdo.config.multirun  # noqa: F401  conf/train.yaml asks it for the name of the multirun
from stdo.core.types import Json, UserError
from stdo.runs.objective import check_objective
from stdo.runs.setting import Role
from stdo.runs.settings import SAMPLERS, SETTINGS, flat, is_neutral, refuse, role_of

PATHS = tuple(name for name, setting in SETTINGS.items() if setting.path)
"""Settings that name files or folders; a ``~`` at their start is the home."""

LISTS_OF_TEXTS = frozenset(
    name for name, setting in SETTINGS.items() if setting.accepts(["any text"])
)
"""Settings that take several texts."""

NAME_MAX = 255
"""Bytes of the name of a file."""

_LATER = ("trainer.", "budget.equal", "chunking.", "patches.whole")
"""Settings, or how they begin, that configurations of before do not have."""

ALL_TEXTS = LISTS_OF_TEXTS | {
    name for name, setting in SETTINGS.items() if setting.accepts("any text")
}
"""Settings that take any text, or several: whatever is typed for them is one, ``1`` and ``true``
too."""


def settle(config: Any) -> None:
    """Give settings of a command the type and the place that is meant, in place.

    A whole number written as ``2.0``, as sweepers do, becomes 2 where whole numbers are asked for.
    In settings that name files, ``~`` becomes the home. Only for configurations that a user typed:
    those of run directories are final.

    Args:
        config: nested mappings, such as a DictConfig.

    Raises:
        UserError: There is no home to take the place of ``~``, or a name is longer than disks hold.
    """
    whole_numbers(config)
    for key in PATHS:
        value = _at(config, key)
        if isinstance(value, str):
            _put(config, key, place(key, value))
        elif (
            not isinstance(value, str)
            and isinstance(value, Sequence)
            and SETTINGS[key].accepts(list(value))
        ):
            _put(config, key, [place(key, str(path)) for path in value])


def whole_numbers(config: Any) -> None:
    """Make 2 of 2.0 in place, wherever a setting takes whole numbers."""
    for key, setting in SETTINGS.items():
        value = _at(config, key)
        if not isinstance(value, float) or not value.is_integer():
            continue
        if not setting.accepts(value) and setting.accepts(int(value)):
            _put(config, key, int(value))


def one_form(name: str, value: Any) -> Any:
    """A value with its numbers written in one way, so that ``1``, ``1.0`` and ``1e0`` are one run.

    Args:
        name: The setting. One of the schema has numbers of the type that it asks for; of others,
            whole numbers are written whole.
        value: A plain value, or a list of such.
    """
    setting = SETTINGS.get(name)
    if setting is not None and setting.accepts(value):
        return msgspec.convert(value, setting.kind, strict=True)
    if isinstance(value, list):
        return [one_form("", each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shaping_settings(settings: Any) -> Json:
    """The settings that change the result of a run, by their whole names; equal for equal runs,
    however they are written.

    Args:
        settings: A whole configuration as nested plain values.
    """
    kept = {
        name: one_form(name, value)
        for name, value in flat(settings)
        if role_of(name) is not Role.NONE
        # runs that have such a setting with no effect are those of before that had none
        and not (name.startswith(_LATER) and is_neutral(name, value))
    }
    if any(name.startswith("callbacks.") for name in kept):
        # what callbacks watch
        shown = ("validate_every", "validate_frames")
        kept |= {f"budget.{name}": settings["budget"].get(name) for name in shown}
    return kept


def refuse_processes(trainer: Any, where: str) -> None:
    """Raise UserError where Lightning would start processes of its own, each of which would do all
    the work of the command again.

    Args:
        trainer: The settings ``trainer``.
        where: In what they must not, such as "a sweep".
    """
    for name in ("devices", "num_nodes"):
        value = trainer.get(name, 1)
        listed = not isinstance(value, int | str | None) and len(value) == 1
        if value not in (1, "1") and not listed:
            raise UserError(f"trainer.{name}={value}: must be 1 in {where}")


def place(key: str, path: str) -> str:
    """A path that a setting names, see `at_home`.

    Raises:
        UserError: There is no home, or a name is longer than disks hold.
    """
    longest = max(map(len, os.fsencode(path).split(b"/")))
    if longest > NAME_MAX and "://" not in path:
        raise UserError(f"{key}={path}: a name of {longest} bytes: must be at most {NAME_MAX}")
    return at_home(key, path)


def at_home(key: str, path: str) -> str:
    """A path with the home in place of ``~`` or ``~user``, as a shell has it; of an unknown user it
    stays as it is.

    Raises:
        UserError: There is no home. A folder called ``~`` is nothing that anybody wants.
    """
    found = os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises for a file called ~draft.mkv
    if found == path and (path == "~" or path.startswith("~/")):
        raise UserError(
            f"{key}={path}: no home folder is known to take the place of ~; set HOME, or give "
            "a whole path"
        )
    return found


def check(config: Any) -> None:
    """Check the value of every setting that a configuration has.

    Args:
        config: nested mappings, such as a DictConfig.

    Raises:
        UserError: A value is of another type or out of its range; names setting, value and what is
            allowed.
    """
    for key, setting in SETTINGS.items():
        node = _at(config, key)
        if node is ...:
            continue
        value = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        if not setting.accepts(value):
            raise refuse(key, value)


def check_chunks(config: Any) -> None:
    """Check what depends on the number of chunks.

    Raises:
        UserError: A list has not one number for each of ``config.chunks`` chunks, no chunk has a
            network, or crops are asked for with chunks that are not made of whole frames.
    """
    for key, setting in SETTINGS.items():
        numbers = _at(config, key) if setting.numbers else None
        if numbers not in (..., None) and len(numbers) != config["chunks"]:
            raise UserError(
                f"{key}={numbers}: must be {config['chunks']} numbers, one for each chunk"
            )
    key = "sharing.bicubic_chunks"
    bicubic, chunking = _at(config, key), _at(config, "chunking.name")
    if bicubic not in (..., 0) and chunking != "score":
        raise UserError(
            f"{key}={bicubic}: must be 0 with chunking={chunking}, which knows no easy chunks"
        )
    if bicubic is not ... and bicubic >= config["chunks"]:
        raise UserError(
            f"{key}={bicubic}: must be less than the number of chunks, {config['chunks']}"
        )
    for key in SAMPLERS:
        crop = _at(config, f"{key}.crop")
        if crop is not ... and chunking == "score" and config["chunks"] > 1:
            raise UserError(
                f"{key}=crops: crops lie anywhere in a frame, and chunking=score divides frames: "
                "it must be chunking=time or chunking=whole"
            )


def check_objective_of(config: Any) -> None:
    """Raise UserError where a search asks for a figure that no run will have."""
    objective = _at(config, "objective")
    if objective is not ...:
        check_objective(str(objective), bool(config["deliver"]), config["metrics"])


def _put(config: Any, key: str, value: Any) -> None:
    """Set a setting that is there."""
    *folders, name = key.split(".")
    node: MutableMapping[str, Any] = config
    for part in folders:
        node = node[part]
    node[name] = value


def _at(config: Any, key: str) -> Any:
    """The value of a setting such as ``sampler.ratios``; ... where the configuration has no such
    setting."""
    node = config
    for part in key.split("."):
        node = node[part] if isinstance(node, Mapping) and part in node else ...
    return node
