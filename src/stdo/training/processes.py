"""The number of processes of a fit; keep Lightning from starting or joining others."""

from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from stdo.core.cores import usable_cores
from stdo.core.locks import fitting


class OneProcess(LightningEnvironment):
    """The environment of a fit of one process, whatever the variables of Slurm, torchrun or MPI
    say.

    Without it Lightning takes ``srun --ntasks=4`` of four independent commands for one fit of four
    processes.
    """

    @property
    def creates_processes_externally(self) -> bool:
        """Nobody has started other processes of this fit."""
        return False

    def local_rank(self) -> int:
        """The first and only process of this machine."""
        return 0

    def node_rank(self) -> int:
        """The first and only machine."""
        return 0


@contextmanager
def fit_of(trainer: Callable[..., pl.Trainer]) -> Iterator[None]:
    """Let everything in this block know how many processes the fit of this trainer has."""
    environment(trainer)
    with fitting(processes_of(trainer)):
        yield


def environment(trainer: Callable[..., pl.Trainer]) -> list[OneProcess]:
    """The plugins that a trainer needs so that a fit of one process stays one."""
    if processes_of(trainer) > 1:
        return []
    one = OneProcess()
    one.set_global_rank(0)  # what Lightning read from the environment when it was imported
    return [one]


def threads_on(device: torch.device) -> int:
    """How many threads compute in this process, 1 where a device does.

    Takes PyTorch down to the cores that a container may use: it starts one for each that it sees,
    and they wait for each other.
    """
    if device.type != "cpu":
        return 1
    cores = usable_cores()
    if torch.get_num_threads() > cores:
        torch.set_num_threads(cores)
    return torch.get_num_threads()


def device_of_fit(trainer: Callable[..., pl.Trainer]) -> torch.device:
    """The kind of device that a fit will compute on.

    Args:
        trainer: As for `processes_of`.
    """
    settings: Mapping[str, Any] = getattr(trainer, "keywords", {})
    kind = str(settings.get("accelerator", "auto"))
    return torch.device("cpu" if kind == "cpu" or not torch.accelerator.is_available() else "cuda")


def processes_of(trainer: Callable[..., pl.Trainer]) -> int:
    """How many processes a fit will have.

    Args:
        trainer: A `functools.partial` of Lightning's Trainer; anything else counts as one process.
    """
    settings: Mapping[str, Any] = getattr(trainer, "keywords", {})
    nodes = settings.get("num_nodes", 1)
    return _devices(settings.get("devices", "auto"), settings.get("accelerator", "auto")) * _number(
        nodes
    )


def _devices(devices: Any, accelerator: Any) -> int:
    """How many devices Lightning will take, as its own ``parse_devices`` reads them; 1 where that
    is not clear."""
    if isinstance(devices, str) and "," in devices:
        return len([each for each in devices.split(",") if each.strip()])
    if isinstance(devices, Sized) and not isinstance(devices, str):
        return len(devices)
    if devices in ("auto", "-1", -1):
        on_gpus = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        return torch.cuda.device_count() if on_gpus else 1
    return _number(devices)


def _number(value: Any) -> int:
    try:
        return max(1, int(value))
    except (TypeError, ValueError):
        return 1
