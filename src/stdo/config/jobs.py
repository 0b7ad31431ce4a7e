"""Build a job from a configuration, and name its run directory."""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from stdo.config.clips import VIDEO_PATHS, build_clip
from stdo.config.command import command_of
from stdo.config.settings import (
    check,
    check_chunks,
    check_objective_of,
    one_form,
    whole_numbers,
)
from stdo.config.trust import conf_dir, refuse_untrusted
from stdo.core.imports import quickly
from stdo.core.types import FrameSource
from stdo.runs.directory import RESULT, file_name
from stdo.runs.settings import Role, flat, role_of

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from stdo.pipeline.fit import Job


def build_job(config: DictConfig) -> Job:
    """Build every part of a run, in the directory that follows from its settings and its video;
    nothing is decoded yet.

    Raises:
        UserError: A setting is out of its range, does not fit the video, or the memory is not
            there.
    """
    config = config.copy()
    whole_numbers(config)
    check(config)
    check_objective_of(config)
    with quickly():
        import pytorch_lightning as pl

        from stdo.models.sharing import seeded
        from stdo.models.weights import starting
        from stdo.pipeline.fit import Job
        from stdo.pipeline.phases import Start
        from stdo.pipeline.rehearsal import rehearse
        from stdo.runs.tracking.tracker import FilesOnly
        from stdo.training.data import PatchData
        from stdo.training.precision import resolve

    if config.chunking.name == "whole":
        config.chunks = 1
    check_chunks(config)
    config.trainer.precision = resolve(config.trainer.precision, config.trainer.accelerator)
    settings = OmegaConf.to_container(config, resolve=True)
    refuse_untrusted(settings)
    trainer = _tried_trainer(config)
    clip = build_clip(config)
    data = PatchData(
        clip, instantiate(config.scorer.measure), instantiate(config.chunking.split), config.chunks
    )
    pl.seed_everything(config.seed, verbose=False)
    backbone = starting(instantiate(config.backbone.network), config.init.weights)
    # A backbone that cannot be built is known before decoding
    network = seeded(backbone, config.seed)
    budget = {"batch": config.budget.batch, "passes": config.budget.passes, "seed": config.seed}
    facts = {
        "video": clip.info.name,
        "method": config.method,
        "backbone": network.label,
        "residual": network.residual,
        "scale": config.scale,
        "chunks": config.chunks,
        "precision": config.trainer.precision,
        "study": config.study,
        "chunking": config.chunking.name,
        "sharing": _name_of(config.sharing),
        "sampler": _name_of(config.sampler),
        "scorer": config.scorer.name,
        "init": config.init.name,
        "own_settings": _own_settings(config),
        **budget,
    }
    job = Job(
        run_directory(config, clip.source),
        OmegaConf.to_yaml(_with_places(config), resolve=True),
        facts,
        data,
        backbone,
        instantiate(config.sharing),
        partial(instantiate(config.sampler), **budget),
        instantiate(config.optim.optimizer),
        instantiate(config.optim.schedule),
        instantiate(config.trainer),
        config.checkpoint_seconds,
        command_of(),
        partial(instantiate(config.logger), config=settings) if config.get("logger") else FilesOnly,
        Start(config.init.share, instantiate(config.init.sampler), **budget)
        if "sampler" in config.init
        else None,
        config.optim.loss,
    )
    if config.force or not (job.directory / RESULT).exists():
        rehearse(job, trainer, network, config.chunks)
    return job


def _own_settings(config: DictConfig) -> list[str]:
    """The settings that are part of the method: those that its file in conf/ sets, and what takes
    its value from them. One that has another value by now is the user's."""
    file = conf_dir() / "method" / f"{config.method}.yaml"
    if not file.is_file():
        return []
    wanted = OmegaConf.load(file)
    set_by_file = dict(flat(OmegaConf.to_container(wanted, resolve=False)))
    own = {
        name
        for name, value in set_by_file.items()
        if name not in ("defaults", "method") and OmegaConf.select(config, name) == value
    }
    unresolved = flat(OmegaConf.to_container(config, resolve=False))
    taken = {name for name, value in unresolved if str(value)[2:-1] in own}  # ${backbone.residual}
    return sorted(own | taken)


def _tried_trainer(config: DictConfig) -> pl.Trainer:
    """Lightning's Trainer as the configuration asks for it. Sets the strategy that several
    processes need."""
    from stdo.training.trainer import check_settings, strategy_for, tried

    check_settings(config.trainer)
    usual = OmegaConf.load(conf_dir() / "trainer" / "auto.yaml")
    assert isinstance(usual, DictConfig)
    trainer = tried(instantiate(config.trainer), config.trainer, usual)
    strategy = config.trainer.get("strategy")
    wanted = strategy_for(trainer, strategy)
    if wanted != strategy:
        OmegaConf.update(config, "trainer.strategy", wanted, force_add=True)
    return trainer


def _with_places(config: DictConfig) -> DictConfig:
    """The configuration that a run keeps: its paths are found from any folder."""
    kept = config.copy()
    for place in ("paths.outputs", "paths.cache", *(f"video.{key}" for key in VIDEO_PATHS)):
        saved = OmegaConf.select(kept, place)
        if isinstance(saved, str):
            OmegaConf.update(kept, place, _absolute(saved))
        elif OmegaConf.is_list(saved):
            OmegaConf.update(kept, place, [_absolute(str(each)) for each in saved])
    return kept


def _absolute(path: str) -> str:
    return os.path.normpath(Path(path).absolute())


def _name_of(part: DictConfig) -> str:
    """What results call a part: the name of its class."""
    return str(part["_target_"]).rpartition(".")[2].lower()


def run_directory(config: DictConfig, source: FrameSource) -> Path:
    """``<outputs>/<video>/<name>-<hash8>``, the hash over everything that changes the result.

    Equal settings give one directory, however they are written. The video's settings enter by its
    content.
    """
    settings = OmegaConf.to_container(config, resolve=True)
    kept = {
        name: one_form(name, value)
        for name, value in flat(settings)
        if role_of(name) is not Role.NONE and not name.startswith("video.")
    }
    kept["fingerprint"] = source.fingerprint()
    digest = hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=4).hexdigest()
    return Path(config.paths.outputs) / file_name(source.info.name) / f"{config.name}-{digest}"
