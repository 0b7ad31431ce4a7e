"""How many processes a fit has; one stays one whatever launchers left in the environment."""

from functools import partial
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only

from stdo.core.locks import main_process
from stdo.training import processes
from stdo.training.processes import environment, fit_of, processes_of, threads_on
from stdo.training.trainer import tried

SLURM = {
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3",
    "SLURM_JOB_ID": "7",
    "SLURM_NODEID": "1",
}
LAUNCHERS = {
    "Slurm": SLURM,
    "Slurm, tasks on nodes": SLURM | {
        "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2", "SLURM_NODELIST": "a[1-2]",
    },
    "torchrun": {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "x",
                 "GROUP_RANK": "1"},
    "left over": {"LOCAL_RANK": "1", "NODE_RANK": "1"},
    "MPI": {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMI_RANK": "1"},
    "LSF": {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/nowhere", "JSM_NAMESPACE_RANK": "1",
            "JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_LOCAL_RANK": "1"},
}  # fmt: skip


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("strategy", ["auto", "ddp"])
def test_one_process_stays_one(
    launcher: str, strategy: str, trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 3)  # as Lightning reads it when it is imported
    made = partial(trainer, strategy=strategy)
    built = made(plugins=environment(made))
    assert (built.world_size, built.global_rank, built.is_global_zero) == (1, 0, True)
    connector = built._accelerator_connector
    assert not connector.cluster_environment.creates_processes_externally
    assert rank_zero_only.rank == 0
    with fit_of(made):
        assert main_process()
    assert tried(made, {}, {}).world_size == 1, "a Trainer on trial is built as that of the fit"


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 1), ({"devices": 1}, 1), ({"devices": "1"}, 1), ({"devices": [3]}, 1),
        ({"devices": "3,"}, 1), ({"devices": 2}, 2), ({"devices": "2"}, 2),
        ({"devices": [0, 1]}, 2), ({"devices": "0,1"}, 2), ({"devices": 1, "num_nodes": 3}, 3),
        ({"devices": "auto", "accelerator": "cpu"}, 1),
    ],
)  # fmt: skip
def test_processes_are_counted_as_lightning_does(settings: dict[str, Any], count: int) -> None:
    assert processes_of(partial(pl.Trainer, **settings)) == count
    assert bool(environment(partial(pl.Trainer, **settings))) == (count == 1)


@pytest.mark.parametrize("devices", ["auto", -1, "-1"])
def test_all_gpus_are_counted(devices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert processes_of(partial(pl.Trainer, devices=devices)) == 4
    assert processes_of(partial(pl.Trainer, devices=devices, accelerator="cpu")) == 1


def test_several_processes_go_by_their_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with fit_of(partial(pl.Trainer, devices=2)):
        assert not main_process()
    assert main_process()


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (64, 3)])
def test_no_more_threads_than_cores(
    cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch counts the cores that it sees, not those that a container may use."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        monkeypatch.setattr(processes, "usable_cores", lambda: cores)
        assert threads_on(torch.device("cpu")) == torch.get_num_threads() == threads
        assert threads_on(torch.device("meta")) == 1
    finally:
        torch.set_num_threads(before)
