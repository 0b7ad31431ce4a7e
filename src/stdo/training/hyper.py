"""Hyper-parameters as plain values: what a checkpoint keeps to build its module again.

A checkpoint may come from a stranger. So a description names a class out of a fixed set, and its
arguments are numbers and texts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from stdo.core.types import UserError
from stdo.models.common import Backbone
from stdo.models.registry import BACKBONES, build, sharings
from stdo.models.sharing import Sharing, Single
from stdo.training.muon import Muon
from stdo.training.reptile import Reptile
from stdo.training.schedule import cosine

Optimizer = Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer]
"""Two groups of parameters -> what moves them; ``filters`` of a group says whether it holds the
convolutions' banks."""
Schedule = Callable[..., torch.optim.lr_scheduler.LRScheduler]

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "SGD": torch.optim.SGD,
    "Muon": Muon,
    "Reptile": Reptile,
}
SCHEDULES: dict[str, Schedule] = {"cosine": cosine}

_REMEDY = "load_from_checkpoint(path, sharing=…) takes the networks from you"


def described(
    sharing: Sharing, optimizer: Optimizer | None = None, schedule: Schedule | None = None
) -> dict[str, Any]:
    """Plain values from which the three are built again; None for what is not of this package."""
    return {
        "sharing": _describe_sharing(sharing),
        "optimizer": _describe_call(optimizer, OPTIMIZERS),
        "schedule": _describe_call(schedule, SCHEDULES),
    }


def _describe_sharing(sharing: Sharing) -> dict[str, Any] | None:
    backbone = next(part for part in sharing.modules() if isinstance(part, Backbone))
    if sharings().get(type(sharing).__name__) is not type(sharing):
        return None
    if BACKBONES.get(backbone.name()) is not type(backbone):
        return None
    return {
        "kind": type(sharing).__name__,
        "chunks": sharing.chunks,
        "bicubic_chunks": sharing.chunks - sharing.served,
        "backbone": {
            "name": backbone.name(),
            "scale": backbone.scale,
            "residual": backbone.residual,
            **backbone.settings,
        },
        **sharing.settings,
    }


def _describe_call(call: Any, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """A `functools.partial` of a known function, or the function itself."""
    function, keywords = getattr(call, "func", call), getattr(call, "keywords", {})
    kind = next((name for name, each in known.items() if each is function), None)
    if kind is None or (isinstance(call, partial) and call.args):
        return None
    plain = {name: _plain(value) for name, value in keywords.items()}
    return None if ... in plain.values() else {"kind": kind, **plain}


def _plain(value: Any) -> Any:
    """A number, text or list of such; ... for anything else."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence):
        parts = [_plain(each) for each in value]
        return ... if ... in parts else parts
    return ...


def built_sharing(sharing: Sharing | Backbone | Mapping[str, Any] | None) -> Sharing:
    """A sharing as it is, of one backbone, or as `described` tells it, with new weights.

    Raises:
        UserError: It is no description of a known kind.
    """
    if isinstance(sharing, Sharing):
        return sharing
    if isinstance(sharing, Backbone):
        return Single(lambda: sharing, 1)
    if not isinstance(sharing, Mapping):
        raise UserError(f"sharing={sharing}: the checkpoint does not describe it; {_REMEDY}")
    described = dict(sharing)
    try:
        kind, backbone = described.pop("kind"), dict(described.pop("backbone"))
        name, scale = backbone.pop("name"), backbone.pop("scale")
        factory = partial(build, name, scale, init="paper", **backbone)
        make: Any = sharings()[kind]
        inspect.signature(make).bind(factory, **described)
        made: Sharing = make(factory, **described)
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"sharing: is not described as it must be ({reason})") from error
    return made


def built_optimizer(optimizer: Optimizer | Mapping[str, Any] | None) -> Optimizer:
    """An optimizer as it is, or as `described` tells it; None: Adam at 1e-3."""
    if optimizer is None:
        return partial(torch.optim.Adam, lr=1e-3)
    found: Optimizer = _built(optimizer, OPTIMIZERS, "optimizer")
    return found


def built_schedule(schedule: Schedule | Mapping[str, Any] | None) -> Schedule:
    """A schedule as it is, or as `described` tells it; None: cosine decay."""
    return cosine if schedule is None else _built(schedule, SCHEDULES, "schedule")


def _built(given: Any, known: Mapping[str, Any], what: str) -> Any:
    if not isinstance(given, Mapping):
        return given
    keywords = dict(given)
    kind = keywords.pop("kind", None)
    if kind not in known:
        raise UserError(f"{what}={str(kind)[:60]}: must be one of {', '.join(known)}")
    return partial(known[kind], **keywords)
