"""Networks on disk: one safetensors file with plain weights, read without pickle."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from stdo.files import atomic
from stdo.models.common import Backbone, plain
from stdo.models.registry import build, name_of
from stdo.models.sharing import Sharing
from stdo.types import UserError


def save_networks(path: str | Path, sharing: Sharing, meta: Mapping[str, str]) -> None:
    """Write every different network of ``sharing`` once, completely or not at all.

    Tensors are named ``network.<number>.<parameter>``, numbered as `Sharing.network_of` does. ``backbone``, ``scale``
    and ``networks`` are added to ``meta``.
    """
    networks = sharing.distinct()
    tensors = {
        f"network.{i}.{name}": tensor.contiguous().cpu()
        for i, network in enumerate(networks)
        for name, tensor in network.state_dict().items()
    }
    own = {"backbone": name_of(networks[0]), "scale": str(networks[0].scale), "networks": str(len(networks))}
    with atomic(Path(path)) as partial:
        partial.write_bytes(safetensors.torch.save(tensors, {**meta, **own}))


def load_networks(path: str | Path) -> tuple[list[Backbone], dict[str, str]]:
    """Read what `save_networks` wrote: the plain networks in order, and the metadata.

    Raises UserError where the file is missing, damaged, or does not hold the networks it names.
    """
    tensors, meta = read_safetensors(path)
    try:
        name, scale, count = meta["backbone"], int(meta["scale"]), int(meta["networks"])
    except (KeyError, ValueError):
        raise UserError(
            f"{path}: not a weights file of stdo (its metadata names no backbone, scale or networks)"
        ) from None
    networks = []
    for i in range(count):
        prefix = f"network.{i}."
        state = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
        with torch.random.fork_rng(devices=[]):
            network = plain(build(name, scale))
        check_shapes(path, network, state)
        network.load_state_dict(state)
        networks.append(network)
    if sum(len(network.state_dict()) for network in networks) != len(tensors):
        raise UserError(f"{path}: holds tensors that belong to none of its {count} networks")
    return networks, meta


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; UserError where it is missing or damaged."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such weights file")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            return tensors, dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged or not a safetensors file ({one_line(error)})") from None


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
