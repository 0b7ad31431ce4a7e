"""A job built from a configuration, and the run directory that it gives a run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from stdo.doors import command_of
from stdo.imports import quickly
from stdo.places import cache_of, candidates
from stdo.rundir import RESULT, file_name, read_result
from stdo.settings import check, check_chunks, one_form, whole_numbers
from stdo.trust import NEVER_BUILT, conf_dir, load_config, refuse_foreign, refuse_untrusted
from stdo.types import FrameSource, Json, UserError

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from stdo.fitting import Job

NOT_IN_HASH = (
    "paths", "force", "checkpoint_seconds", "name", "video", "trainer", "logger", "study", "networks_alone",
    "passes_at", "deliver", "weights",
)  # fmt: skip
"""Settings that do not change the result, or (the video's) enter the hash through the fingerprint."""


VIDEO_PATHS = ("path", "paths", "root")
"""What the sources of conf/video call the place of their video: one of these each."""


def finished_job(directory: Path, cache: str | None = None, video: Mapping[str, Any] | None = None) -> Job:
    """The job of a finished run, rebuilt from its directory.

    Its scores and labels are kept and nothing is trained, so what would score and train is not even built: the folder
    may be a stranger's.

    Args:
        directory: The run directory.
        cache: Where the prepared video is; None: where it was.
        video: Where the video is now: ``path``, ``paths`` or ``root``, whichever the run has; None: where it was.

    Raises:
        UserError: It is no finished run, its video is not found, or is another one by now.
    """
    run = load_config(directory)
    metrics = read_result(directory)
    for place, ours in NEVER_BUILT.items():
        OmegaConf.update(run, place, ours, merge=False)
    refuse_foreign(directory, run)
    check(run)
    source = _own_source(run, directory, metrics, video or {})
    if cache is None:
        cache = str(cache_of(run.paths.cache, run.paths.outputs, directory, source.fingerprint()))
    run.paths.cache = cache
    return build_job(run, directory, source)


def _own_source(run: DictConfig, directory: Path, metrics: Json, asked: Mapping[str, Any]) -> FrameSource:
    """The video of a finished run, at the first of its likely places where it is. Sets ``run.video`` to that place."""
    from stdo.evaluation.identity import check_source

    own = next((key for key in VIDEO_PATHS if key in run.video), None)
    for key, value in asked.items():
        if value is not None and key != own:
            raise UserError(f"video.{key}={value}: must be left out: this run has video.{own}")
    if own is None:
        places: list[Any] = [None]
    elif asked.get(own) is not None:
        places = [asked[own]]
    else:
        places = _places(run.video[own], run.paths.outputs, directory, f"video.{own}")

    refused: list[Exception] = []
    for place in places:
        if own is not None:
            run.video[own] = place
        try:
            source: FrameSource = instantiate(run.video)
            check_source(directory, metrics, source)
        except (UserError, InstantiationException) as error:
            refused.append(error)
        else:
            return source
    raise refused[0]


def _places(saved: Any, outputs: str, directory: Path, setting: str) -> list[Any]:
    """Where a run's video may be now, likeliest first; of several files, all are taken to have moved alike.

    Raises UserError where there is nothing at any of them.
    """
    if saved is None:
        return [None]  # the default clip
    files = [saved] if isinstance(saved, str) else list(saved if OmegaConf.is_list(saved) else ())
    if not files or not all(isinstance(file, str) for file in files):
        raise UserError(f"{setting}={saved}: must be a text, or a list of texts")
    found = [candidates(file, outputs, directory) for file in files]
    moved = [[each[min(i, len(each) - 1)] for each in found] for i in range(max(map(len, found)))]
    there = [[str(path) for path in paths] for paths in moved if all(path.exists() for path in paths)]
    if not there:
        raise UserError(f"{setting}={saved}: no such file or folder; {setting}= says where this run's video is now")
    return [paths[0] for paths in there] if isinstance(saved, str) else there


def build_job(config: DictConfig, directory: Path | None = None, source: FrameSource | None = None) -> Job:
    """Build every part of a run; nothing is decoded yet.

    Args:
        config: Every setting of the run.
        directory: The run directory; None derives it from the configuration and the video's content.
        source: The video; None opens what the configuration names.
    """
    config = config.copy()
    whole_numbers(config)
    check(config)
    with quickly():
        import pytorch_lightning as pl

        from stdo.fitting import Job, terminal
        from stdo.models.sharing import seeded
        from stdo.models.weights import starting
        from stdo.rehearsal import rehearse
        from stdo.tracking.tracker import FilesOnly
        from stdo.training.data import PatchData
        from stdo.training.precision import resolve

    finished = directory is not None
    if config.chunking.name == "whole":
        config.chunks = 1
    check_chunks(config)
    config.trainer.precision = resolve(config.trainer.precision, config.trainer.accelerator)
    settings = OmegaConf.to_container(config, resolve=True)
    refuse_untrusted(settings)
    trainer = None if finished else _tried_trainer(config)
    if source is None:
        source = instantiate(config.video)
    data = PatchData(
        source,
        Path(config.paths.cache),
        instantiate(config.degrade),
        instantiate(config.patches),
        instantiate(config.scorer.measure),
        instantiate(config.chunking.split),
        config.chunks,
        terminal,
    )
    pl.seed_everything(config.seed, verbose=False)
    backbone = starting(instantiate(config.backbone.network), config.init.weights)
    network = seeded(backbone, config.seed)  # a backbone that cannot be built is known before decoding
    budget = {"batch": config.budget.batch, "passes": config.budget.passes, "seed": config.seed}
    facts = {
        "video": source.info.name,
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
        **budget,
    }
    job = Job(
        directory or run_directory(config, source),
        OmegaConf.to_yaml(_with_places(config), resolve=True),
        facts,
        data,
        partial(instantiate(config.sharing), backbone),
        partial(instantiate(config.sampler), **budget),
        instantiate(config.optim.optimizer),
        instantiate(config.optim.schedule),
        instantiate(config.trainer),
        config.checkpoint_seconds,
        command_of(),
        partial(instantiate(config.logger), config=settings) if config.get("logger") else FilesOnly,
        None if config.init.start is None else partial(instantiate(config.init.start), **budget),
        config.optim.loss,
    )
    if trainer is not None and (config.force or not (job.directory / RESULT).exists()):
        rehearse(job, trainer, network, config.chunks)
    return job


def _tried_trainer(config: DictConfig) -> pl.Trainer:
    """Lightning's Trainer as the configuration asks for it. Sets the strategy that several processes need."""
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

    Equal settings give one directory, however they are written. A directory that an earlier version made for the very
    words, such as ``budget.passes=2.0``, is still taken.
    """
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    kept = {key: value for key, value in settings.items() if key not in NOT_IN_HASH}
    kept |= {"fingerprint": source.fingerprint(), "precision": config.trainer.precision}
    folder = Path(config.paths.outputs) / file_name(source.info.name)
    now, before = (folder / f"{config.name}-{_digest(each)}" for each in (one_form(kept), kept))
    return before if before.exists() and not now.exists() else now


def _digest(settings: Any) -> str:
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=4).hexdigest()
