"""Networks on disk: one safetensors file with plain weights, read without pickle."""

import inspect
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from stdo.core.files import atomic
from stdo.core.foreign import parse_json, read_file
from stdo.core.networks import MAX_RANK, PLACES, VALUES, Delta, Networks, delta_shape
from stdo.core.types import SCALES, UserError
from stdo.models.common import Backbone, plain
from stdo.models.registry import build, found, name_of
from stdo.models.sharing import BackboneFactory, Sharing

BASE = "base"
"""What the names of the base's tensors begin with, where there are deltas; theirs begin with the
kind, see `Delta`."""


MAX_BYTES, MAX_NETWORKS = 1 << 32, 32767
"""Bytes of a weights file, and networks in it."""


def save_networks(
    path: str | Path, sharing: Sharing, meta: Mapping[str, str] | None = None
) -> None:
    """Write every different network of ``sharing`` once, completely or not at all.

    Tensors are named ``network.<number>.<parameter>``, numbered as `Sharing.network_of` does; where
    the networks are one and what they change in it, that one is ``base.<parameter>`` and the
    changes are ``modulation.<number>.<convolution>``, ``difference.…`` or
    ``update.<number>.places`` and ``.values``, see `Sharing.parts`.
    ``backbone``, ``residual``, ``settings``, ``scale`` and ``networks`` are added to ``meta``.
    """
    networks = sharing.distinct()
    tensors = {
        f"network.{i}.{name}": tensor.contiguous().cpu()
        for i, network in enumerate(networks)
        for name, tensor in network.state_dict().items()
    }
    sent = sharing.parts()
    if sent.kind is not None:
        tensors |= {
            f"{BASE}.{name}": tensor.contiguous().cpu() for name, tensor in sent.bases[0].items()
        }
    for i, delta in enumerate(sent.deltas):
        tensors |= {
            f"{sent.kind}.{i}.{name}": change.contiguous().cpu() for name, change in delta.items()
        }
    one = networks[0]
    own = {
        "backbone": name_of(one),
        "residual": one.residual,
        "settings": json.dumps(one.settings),
        "scale": str(one.scale),
        "networks": str(len(networks)),
    }
    write_safetensors(path, tensors, {**(meta or {}), **own})


def write_safetensors(
    path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, str]
) -> None:
    """Write tensors, and texts beside them, completely or not at all."""
    with atomic(Path(path)) as partial:
        partial.write_bytes(safetensors.torch.save(dict(tensors), dict(meta)))


def load_networks(path: str | Path) -> tuple[list[Backbone], dict[str, str]]:
    """Read what `save_networks` wrote: the plain networks in order, and the metadata.

    A file of an older version, which names no ``residual`` or ``settings``, holds networks as
    published. Raises UserError where the file is missing, damaged, or does not hold the networks it
    names.
    """
    tensors, meta = read_safetensors(path)
    name, scale, count = _named(path, meta)
    settings, networks = _settings(path, meta), []
    for i in range(count):
        state = _under(f"network.{i}.", tensors)
        with torch.random.fork_rng(devices=[]):
            network = plain(build(name, scale, residual=meta.get("residual"), **settings))
        check_shapes(path, network, state)
        network.load_state_dict(state)
        networks.append(network)
    others = sum(key.split(".")[0] not in (BASE, *Delta) for key in tensors)
    if sum(len(network.state_dict()) for network in networks) != others:
        raise UserError(f"{path}: holds tensors that belong to none of its {count} networks")
    return networks, meta


def _named(path: str | Path, meta: Mapping[str, str]) -> tuple[str, int, int]:
    """Backbone, scale and number of networks, as the metadata say: a few bytes that decide what is
    built."""
    try:
        name, scale, count = meta["backbone"], int(meta["scale"]), int(meta["networks"])
    except (KeyError, ValueError):
        raise UserError(
            f"{path}: not a weights file of stdo (its metadata names no backbone, scale or "
            "networks)"
        ) from None
    if scale not in SCALES or not 1 <= count <= MAX_NETWORKS:
        raise UserError(
            f"{path}: scale={scale}, networks={count}: must be one of {SCALES}, and 1 to "
            f"{MAX_NETWORKS}"
        )
    return name, scale, count


def load_one(path: str | Path, backbone: str, scale: int) -> Backbone:
    """The plain network of a file of `save_networks` that holds just one, of this architecture.

    Raises UserError as `load_networks` does, and where it holds anything else.
    """
    networks, meta = load_networks(path)
    held = (meta["backbone"], int(meta["scale"]), len(networks))
    if held != (backbone, scale, 1):
        raise UserError(
            f"weights={path}: holds {held[2]} x {held[0]} at scale {held[1]}; one {backbone} "
            f"at scale {scale} is needed"
        )
    return networks[0]


def starting(factory: BackboneFactory, path: str | Path | None) -> BackboneFactory:
    """``factory``, or one whose backbones begin with the weights of a file, see `started`."""
    return factory if path is None else partial(started, factory, path)


def started(factory: BackboneFactory, path: str | Path) -> Backbone:
    """A backbone of ``factory`` with the weights of a file that holds one network of the same
    architecture.

    Raises UserError as `load_one` does, and where that network predicts something else (`Backbone`,
    residual).
    """
    backbone = factory()
    loaded = load_one(path, name_of(backbone), backbone.scale)
    theirs, ours = ({"residual": each.residual, **each.settings} for each in (loaded, backbone))
    for key in ours:
        if theirs[key] != ours[key]:
            raise UserError(
                f"weights={path}: was trained with backbone.{key}={theirs[key]}; {ours[key]} "
                "is asked for"
            )
    for name, tensor in loaded.state_dict().items():
        parent, _, leaf = name.rpartition(".")
        module = backbone.get_submodule(parent)
        with torch.no_grad():
            if parametrize.is_parametrized(module, leaf):
                setattr(module, leaf, tensor)  # weight norm takes it apart into gain and direction
            else:
                module.get_parameter(leaf).copy_(tensor)
    return backbone


def load_parts(path: str | Path) -> Networks[Tensor]:
    """What of a file of `save_networks` is least to send, as `Sharing.parts` gives it.

    Raises:
        UserError: As of `load_networks`, and where base and deltas do not fit the networks.
    """
    networks = [network.state_dict() for network in load_networks(path)[0]]
    tensors, _ = read_safetensors(path)
    base = _under(f"{BASE}.", tensors)
    if not base:
        return Networks(networks)
    kinds = (kind for kind in Delta if _under(f"{kind}.", tensors))
    kind = next(kinds, Delta.LOW_RANK)
    deltas = [_under(f"{kind}.{i}.", tensors) for i in range(len(networks))]
    # A low-rank difference or an update may change nothing
    complete = all(deltas) or kind in (Delta.LOW_RANK, Delta.UPDATE)
    known = _shapes(networks[0])
    if kind is Delta.UPDATE:
        fits = all(_is_update(delta, known) for delta in deltas)
    else:
        fits = _fit(deltas, kind, known)
    if not complete or _shapes(base) != known or not fits:
        raise UserError(f"{path}: its base and {kind}s do not fit its {len(networks)} networks")
    return Networks([{name: base[name] for name in known}], kind, deltas)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _fit(
    deltas: Sequence[Mapping[str, Tensor]], kind: Delta, known: Mapping[str, torch.Size]
) -> bool:
    """Whether all deltas change the same convolutions, each by numbers of the right shape.

    Args:
        kind: Of the deltas.
        known: The shapes of the network's parameters.
    """
    changing = [_shapes(delta) for delta in deltas if delta]
    if not changing:
        return True
    first = changing[0]
    rank = max((shape[0] for shape in first.values() if shape), default=0)
    for name, shape in first.items():
        weight = known.get(f"{name}.weight", ())
        changeable = len(weight) == 4 and f"{name}.bias" in known and rank >= 1
        if not changeable or shape != delta_shape(kind, weight, min(rank, MAX_RANK)):
            return False
    return all(shapes == first for shapes in changing)


def _is_update(update: Mapping[str, Tensor], known: Mapping[str, torch.Size]) -> bool:
    """Whether an update is none, or names weights that a network of these shapes has, in order."""
    if not update:
        return True
    if update.keys() != {PLACES, VALUES}:
        return False
    places, values = update[PLACES], update[VALUES]
    if places.dtype != torch.int64 or places.ndim != 1 or values.shape != places.shape:
        return False
    size = sum(shape.numel() for shape in known.values())
    rising = bool((places[1:] > places[:-1]).all())
    return len(places) > 0 and rising and int(places[0]) >= 0 and int(places[-1]) < size


_FORMER = {"leak": "negative_slope"}
"""What settings were called in files of before."""


def _settings(path: str | Path, meta: Mapping[str, str]) -> dict[str, float]:
    """The networks' `Backbone.settings`, as far as the file names them."""
    try:
        kind = found(meta["backbone"])
    except UserError as error:
        raise UserError(f"{path}: {error}; plugins= gives the package of another") from error
    try:
        settings = parse_json(meta.get("settings", "{}").encode("utf-8", "replace"), "settings")
        known = inspect.signature(kind).parameters
        settings = {_FORMER.get(name, name): value for name, value in settings.items()}
        good = settings.keys() <= known.keys() - {"scale", "init", "residual"}
        if good and all(map(_is_number, settings.values())):
            return settings
    except (UserError, AttributeError):
        pass
    raise UserError(
        f"{path}: settings={meta['settings'][:80]!r} of its networks are none of "
        f"{meta['backbone'][:40]!r}"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a safetensors file, which is opened once.

    Raises:
        UserError: It is missing, no regular file, larger than `MAX_BYTES`, or damaged.
    """
    try:
        content = read_file(Path(path), MAX_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path}: no such weights file") from None
    try:
        return dict(safetensors.torch.load(content)), _metadata(content)
    except (safetensors.SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: damaged or not a safetensors file ({one_line(error)})") from None


def _metadata(content: bytes) -> dict[str, str]:
    """The texts beside the tensors; the header has passed safetensors' own checks."""
    length = int.from_bytes(content[:8], "little")
    header = parse_json(content[8 : 8 + length], "its header")
    return {str(key): str(value) for key, value in (header.get("__metadata__") or {}).items()}


def check_shapes(path: str | Path, network: Backbone, state: Mapping[str, Tensor]) -> None:
    """Raise UserError unless ``state`` has exactly the names and shapes of ``network``."""
    for key, expected in network.state_dict().items():
        if key not in state:
            raise UserError(f"{path}: lacks {key} of {name_of(network)} at scale {network.scale}")
        if state[key].shape != expected.shape:
            raise UserError(
                f"{path}: {key} has shape {tuple(state[key].shape)}; "
                f"{name_of(network)} at scale {network.scale} needs {tuple(expected.shape)}"
            )


def one_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
