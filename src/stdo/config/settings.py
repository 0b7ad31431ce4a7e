"""Checks of the settings' values before anything is decoded or built."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from stdo.core.types import SCALES, UserError

Rule = tuple[Callable[[Any], bool], str]

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _whole(least: int, most: int | None = None) -> Rule:
    text = f"must be a whole number from {least} to {most}" if most else f"must be a whole number, {least} or more"

    def good(value: Any) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and value >= least and (most is None or value <= most)

    return good, text


def _one_of(*allowed: Any) -> Rule:
    def good(value: Any) -> bool:
        return not isinstance(value, bool | float) and value in allowed  # 2.0 equals 2 and indexes nothing

    return good, f"must be one of {', '.join(map(str, allowed))}"


def _or_null(rule: Rule) -> Rule:
    return lambda value: value is None or rule[0](value), f"{rule[1]}, or null"


POSITIVE: Rule = (lambda value: _number(value) and 0 < value < float("inf"), "must be a number above 0")
NOT_NEGATIVE: Rule = (lambda value: _number(value) and 0 <= value < float("inf"), "must be a number, 0 or more")
SWITCH: Rule = (lambda value: isinstance(value, bool), "must be true or false")
TEXT: Rule = (lambda value: isinstance(value, str) and bool(value), "must be a text")
TEXTS: Rule = (
    lambda value: isinstance(value, Sequence) and not isinstance(value, str) and all(map(TEXT[0], value)),
    "must be a list of texts",
)
SOME: Rule = (lambda value: TEXT[0](value) or (TEXTS[0](value) and bool(value)), "must be a path, or a list of paths")


def _numbers(most: float) -> Rule:
    text = (
        f"must be a list of numbers from 0 to {most:g}, not all 0"
        if math.isfinite(most)
        else ("must be a list of numbers, 0 or more, not all 0")
    )

    def good(value: Any) -> bool:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        return all(_number(item) and 0 <= item <= most and item < math.inf for item in value) and any(value)

    return good, text


def _size(value: Any) -> bool:
    share = isinstance(value, float) and 0 < value <= 1
    return share or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)


def _between(value: Any) -> bool:
    return _number(value) and 0 < value < 1


SIZE: Rule = (_size, "must be a whole number of patches, 1 or more, or a share up to 1.0")
PART: Rule = (lambda value: _number(value) and 0 <= value < 1, "must be a number, 0 or more and less than 1")
SHARE: Rule = (lambda value: _number(value) and 0 < value <= 1, "must be a number above 0, up to 1")

SAMPLERS = ("sampler", "init.sampler")
"""Where a configuration has a sampler: the chunks' networks', and that of the network which learns first."""

SAMPLER_RULES: dict[str, Rule] = {
    "ratios": _or_null(_numbers(1)),
    "weights": _or_null(_numbers(math.inf)),
    "work": _or_null(_numbers(math.inf)),
    "size": _or_null(SIZE),
    "factor": SHARE,
    "resample": SWITCH,
}

RULES: dict[str, Rule] = {
    "scale": _one_of(*SCALES),
    "chunks": _whole(1, 32767),
    "seed": _whole(0, 2**32 - 1),
    "force": SWITCH,
    "checkpoint_seconds": NOT_NEGATIVE,
    "name": TEXT,
    "paths.outputs": TEXT,
    "paths.cache": TEXT,
    "run": TEXT,
    "runs": _or_null(SOME),
    "title": _or_null(TEXT),
    "video.path": _or_null(TEXT),
    "video.paths": _or_null(TEXTS),
    "video.pattern": TEXT,
    "video.root": _or_null(TEXT),
    "video.topic": TEXT,
    "video.start": NOT_NEGATIVE,
    "video.duration": _or_null(POSITIVE),
    "video.every": _whole(1),
    "video.max_frames": _or_null(_whole(1)),
    "video.height": _or_null(_whole(16)),
    "backbone.residual": _one_of("none", "bicubic"),
    "backbone.leak": PART,
    "backbone.width": SHARE,
    "backbone.depth": _whole(1, 16),
    "backbone.channels": _whole(4, 64),
    "sharing.rank": _whole(1, 255),
    "patches.height": _or_null(_whole(1)),
    "patches.width": _or_null(_whole(1)),
    "patches.halo": _whole(0),
    "degrade.crf": _or_null(_whole(0, 63)),
    "study": _or_null(TEXT),
    "networks_alone": SWITCH,
    **{f"{key}.{name}": rule for key in SAMPLERS for name, rule in SAMPLER_RULES.items()},
    "sharing.bicubic": _whole(0),
    "init.weights": _or_null(TEXT),
    "scorer.weights": TEXT,
    "scorer.function": TEXT,
    "init.share": (_between, "must be a number between 0 and 1"),
    "network": _or_null(_whole(0)),
    "budget.passes": POSITIVE,
    "budget.batch": _whole(1),
    "optim.lr": POSITIVE,
    "optim.momentum": PART,
    "optim.rest": POSITIVE,
    "optim.loss": _one_of("l1", "l2"),
    "trainer.precision": _one_of(*PRECISIONS),
    "deliver": SWITCH,
    "weights.bits": _one_of(32, 16, 8, 6, 4),
    "out": _or_null(TEXT),
    "unpacked": SWITCH,
    "logger.project": _or_null(TEXT),
    "logger.entity": _or_null(TEXT),
    "logger.mode": _one_of("auto", "online", "offline"),
    "logger.group": _or_null(TEXT),
    "logger.tags": TEXTS,
    "logger.artifact": SWITCH,
}

PATHS = (
    "init.weights", "out", "paths.cache", "paths.outputs", "run", "runs", "scorer.weights", "video.path", "video.paths",
    "video.root",
)  # fmt: skip
"""Settings that name files or folders; a ``~`` at their start is the home."""

LISTS_OF_TEXTS = frozenset(key for key, (good, _) in RULES.items() if good(["any text"]))
"""Settings that take several texts."""

ALL_TEXTS = LISTS_OF_TEXTS | {key for key, (good, _) in RULES.items() if good("any text")}
"""Settings that take any text, or several: whatever is typed for them is one, ``1`` and ``true`` too."""


def settle(config: Any) -> None:
    """Give settings of a command the type and the place that is meant, in place.

    A whole number written as ``2.0``, as sweepers do, becomes 2 where whole numbers are asked for. In settings that
    name files, ``~`` becomes the home. Only for configurations that a user typed: those of run directories are final.

    Args:
        config: nested mappings, such as a DictConfig.

    Raises:
        UserError: There is no home to take the place of ``~``.
    """
    whole_numbers(config)
    for key in PATHS:
        value = _at(config, key)
        if isinstance(value, str) and value.startswith("~"):
            _put(config, key, at_home(key, value))
        elif key in LISTS_OF_TEXTS and TEXTS[0](value):
            _put(config, key, [at_home(key, str(path)) for path in value])


def whole_numbers(config: Any) -> None:
    """Make 2 of 2.0 in place, wherever a setting takes whole numbers."""
    for key, (good, _) in RULES.items():
        value = _at(config, key)
        if isinstance(value, float) and value.is_integer() and not good(value) and good(int(value)):
            _put(config, key, int(value))


WRITTEN_WITH_A_POINT = ("temporal", "warmup")
"""Numbers that conf/ writes as 1.0 and the like; all others that are whole it writes without a point. Names of runs
depend on this, so it holds for settings to come as well."""


def one_form(settings: Any, name: str = "") -> Any:
    """Settings with equal numbers written alike, so that ``1``, ``1.0`` and ``1e0`` are one run.

    Each is written as conf/ does, since the runs that are there were named by that. A size stays as it is: 1 is a
    patch, and 1.0 the whole video.

    Args:
        settings: nested mappings, lists and plain values. name: of the setting that they are the value of.
    """
    if isinstance(settings, Mapping):
        return {key: one_form(value, str(key)) for key, value in settings.items()}
    if isinstance(settings, list):
        return [one_form(value, name) for value in settings]
    if not _number(settings) or name == "size":
        return settings
    if name in WRITTEN_WITH_A_POINT:
        return float(settings)
    return int(settings) if isinstance(settings, float) and settings.is_integer() else settings


def at_home(key: str, path: str) -> str:
    """A path with the home in place of ``~`` or ``~user``, as a shell has it; of an unknown user it stays as it is.

    Raises:
        UserError: There is no home. A folder called ``~`` is nothing that anybody wants.
    """
    found = os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises for a file called ~draft.mkv
    if found == path and (path == "~" or path.startswith("~/")):
        raise UserError(f"{key}={path}: no home folder is known to take the place of ~; set HOME, or give a whole path")
    return found


def check(config: Any) -> None:
    """Raise UserError, naming setting, value and what is allowed, for the first value that is not.

    config: nested mappings, such as a DictConfig. Settings that it does not have are not asked for.
    """
    for key, (good, allowed) in RULES.items():
        node = _at(config, key)
        if node is not ... and not good(node):
            raise UserError(f"{key}={node}: {allowed}")


def check_chunks(config: Any) -> None:
    """Raise UserError where a list has not one number for each of ``config.chunks`` chunks, or none has a network."""
    for key in (f"{sampler}.{name}" for sampler in SAMPLERS for name in ("ratios", "weights", "work")):
        numbers = _at(config, key)
        if numbers not in (..., None) and len(numbers) != config["chunks"]:
            raise UserError(f"{key}={numbers}: must be {config['chunks']} numbers, one for each chunk")
    bicubic, chunking = (_at(config, key) for key in ("sharing.bicubic", "chunking.name"))
    if bicubic not in (..., 0) and chunking != "score":
        raise UserError(f"sharing.bicubic={bicubic}: must be 0 with chunking={chunking}, which knows no easy chunks")
    if bicubic is not ... and bicubic >= config["chunks"]:
        raise UserError(f"sharing.bicubic={bicubic}: must be less than the number of chunks, {config['chunks']}")


def _put(config: Any, key: str, value: Any) -> None:
    """Set a setting that is there."""
    *folders, name = key.split(".")
    node: MutableMapping[str, Any] = config
    for part in folders:
        node = node[part]
    node[name] = value


def _at(config: Any, key: str) -> Any:
    """The value of a setting such as ``sampler.ratios``; ... where the configuration has no such setting."""
    node = config
    for part in key.split("."):
        node = node[part] if isinstance(node, Mapping) and part in node else ...
    return node
