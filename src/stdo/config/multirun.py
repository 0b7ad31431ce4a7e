"""The name of a multirun, for those who are told of its jobs."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf


def multirun() -> str | None:
    """The name of the multirun that the running job is one of, as its folder under
    ``<outputs>/sweeps`` has it; None where it is no job of a multirun."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().sweep.dir).name


OmegaConf.register_new_resolver("multirun", multirun, replace=True)
"""``${multirun:}``: the same, for conf/."""
