"""Checks of the settings' values before anything is decoded or built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stdo.types import SCALES, UserError

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
        return not isinstance(value, bool) and value in allowed

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

AUTO = "auto"
"""Where a number of chunks is asked for: as many as bicubic serves well, see `stdo.chunks.split.easy_chunks`."""

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
    "video.path": _or_null(TEXT),
    "video.paths": _or_null(TEXTS),
    "video.root": _or_null(TEXT),
    "video.start": NOT_NEGATIVE,
    "video.duration": _or_null(POSITIVE),
    "video.every": _whole(1),
    "video.max_frames": _or_null(_whole(1)),
    "video.height": _or_null(_whole(16)),
    "backbone.residual": _one_of("none", "bicubic"),
    "backbone.leak": PART,
    "backbone.width": SHARE,
    "backbone.macs": _or_null(SHARE),
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
    "sharing.bicubic": (lambda value: value == AUTO or _whole(0)[0](value), f"{_whole(0)[1]}, or {AUTO}"),
    "init.weights": _or_null(TEXT),
    "init.share": (_between, "must be a number between 0 and 1"),
    "network": _or_null(_whole(0)),
    "budget.passes": POSITIVE,
    "budget.batch": _whole(1),
    "budget.min_gain": _or_null(POSITIVE),
    "optim.lr": POSITIVE,
    "optim.momentum": PART,
    "optim.rest": POSITIVE,
    "optim.loss": _one_of("l1", "l2"),
    "trainer.precision": _one_of(*PRECISIONS),
    "deliver": SWITCH,
    "weights.bits": _one_of(32, 16, 8, 6, 4),
    "weights.finetune": (lambda value: _number(value) and 0 <= value <= 1000, "must be a number from 0 to 1000"),
    "out": _or_null(TEXT),
    "unpacked": SWITCH,
    "logger.project": TEXT,
    "logger.entity": _or_null(TEXT),
    "logger.mode": _one_of("auto", "online", "offline"),
    "logger.group": _or_null(TEXT),
    "logger.tags": TEXTS,
    "logger.artifact": SWITCH,
}


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
    if bicubic == AUTO:
        scorer, macs = (_at(config, key) for key in ("scorer.name", "backbone.macs"))
        if scorer != "bicubic":
            raise UserError(f"sharing.bicubic={AUTO}: needs scorer=bicubic, not {scorer}, to see what bicubic does")
        if macs not in (..., None):
            raise UserError(f"sharing.bicubic={AUTO}: must be a number with backbone.macs, which counts with it")
    elif bicubic is not ... and bicubic >= config["chunks"]:
        raise UserError(f"sharing.bicubic={bicubic}: must be less than the number of chunks, {config['chunks']}")


def _at(config: Any, key: str) -> Any:
    """The value of a setting such as ``sampler.ratios``; ... where the configuration has no such setting."""
    node = config
    for part in key.split("."):
        node = node[part] if isinstance(node, Mapping) and part in node else ...
    return node
