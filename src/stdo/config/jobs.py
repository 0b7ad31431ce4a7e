"""Build a job from a configuration, and name its run directory."""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from stdo.config.callbacks import callbacks_of, profiler_of, tracker_of
from stdo.config.clips import VIDEO_PATHS, build_clip
from stdo.config.command import command_of
from stdo.config.plugins import used
from stdo.config.settings import (
    check,
    check_chunks,
    check_objective_of,
    shaping_settings,
    whole_numbers,
)
from stdo.config.trust import conf_dir, conf_dirs, refuse_untrusted
from stdo.core.imports import quickly
from stdo.core.types import FrameSource, UserError
from stdo.runs.directory import RESULT, file_name
from stdo.runs.settings import flat

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from stdo.pipeline.fit import Job
    from stdo.training.options import Options


PARTIAL = ("backbone.network", "chunking.split", "sharing", "sampler", "init.sampler",
    "optim.optimizer", "optim.schedule", "trainer")  # fmt: skip
"""What of a configuration names a class or function that is called later."""


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

        from stdo.models.registry import check_backbone
        from stdo.models.sharing import seeded
        from stdo.models.weights import starting
        from stdo.pipeline.chunking import on_grid
        from stdo.pipeline.equal import divided
        from stdo.pipeline.fit import Job
        from stdo.pipeline.phases import Start
        from stdo.pipeline.rehearsal import named, rehearse
        from stdo.training.data import PatchData
        from stdo.training.loss import check_loss
        from stdo.training.precision import resolve

    _name_as_installed(config)
    _set_chunks(config)
    _set_branches(config)
    config.trainer.precision = resolve(config.trainer.precision, config.trainer.accelerator)
    settings = OmegaConf.to_container(config, resolve=True)
    refuse_untrusted(settings)
    _check_partial(config)
    _check_chain(config)
    networks = _set_reading(config)
    config.plugins = used(config.get("plugins") or (), settings)
    trainer = _tried_trainer(config)
    _check_online(config, trainer.world_size)
    clip = build_clip(config)
    data = PatchData(
        clip, instantiate(config.scorer.measure), instantiate(config.chunking.split), config.chunks
    )
    pl.seed_everything(config.seed, verbose=False)
    backbone = starting(instantiate(config.backbone.network), config.init.weights)
    # A backbone that cannot be built is known before decoding
    with named("backbone"):
        network = seeded(backbone, config.seed)
        check_backbone(network)
    check_loss(config.optim.loss)
    directory = run_directory(config, clip.source)
    options = _options(config)
    budget = {
        "batch": config.budget.batch * options.accumulate,
        "passes": config.budget.passes,
        "seed": config.seed,
    }
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
        "equal": None if networks == 1 else config.budget.equal,
        "optimizer": _name_of(config.optim.optimizer),
        "negative_slope": network.negative_slope,
        "first_weights": "file" if config.init.weights else config.backbone.network.get("init"),
        "own_settings": _own_settings(config),
        "crop": config.sampler.get("crop"),
        **budget,
    }
    sampler = partial(on_grid(instantiate(config.sampler), clip.grid), **budget)
    job = Job(
        directory,
        OmegaConf.to_yaml(_with_places(config), resolve=True),
        facts,
        data,
        backbone,
        instantiate(config.sharing),
        partial(divided, sampler) if config.budget.equal == "steps" else sampler,
        instantiate(config.optim.optimizer),
        instantiate(config.optim.schedule),
        instantiate(_for_lightning(config)),
        config.checkpoint_seconds,
        command_of(),
        tracker_of(config, cast("dict[str, Any]", settings)),
        Start(config.init.share, on_grid(instantiate(config.init.sampler), clip.grid), **budget)
        if "sampler" in config.init
        else None,
        config.optim.loss,
        options,
        tuple(config.metrics),
    )
    if config.force or not (job.directory / RESULT).exists():
        rehearse(job, trainer, network, config.chunks)
    return job


def _set_chunks(config: DictConfig) -> None:
    """Give ``chunks`` the number that the chunking asks for, in place, and check what depends on
    it."""
    if config.chunking.name == "whole":
        config.chunks = 1
    elif config.chunking.get("seconds"):
        from stdo.pipeline.chunking import chunks_of

        refuse_untrusted(OmegaConf.to_container(config, resolve=True))
        # From here on it is a run of so many chunks, however they were asked for
        config.chunks = chunks_of(build_clip(config).info, config.chunking.seconds)
        config.chunking.seconds = None
    check_chunks(config)
    if config.chunking.name == "clusters":
        from stdo.pipeline.chunking import check_clusters_of

        check_clusters_of(config.scorer.name, config.init.name)
    thresholds = config.chunking.get("thresholds")
    if thresholds is not None:
        from stdo.pipeline.chunking import check_thresholds_of

        check_thresholds_of(config.scorer.name, list(thresholds), config.chunks)


def _check_online(config: DictConfig, processes: int) -> None:
    """Check what a sampler that looks at the training leaves open."""
    from stdo.pipeline.online import check_online

    first = instantiate(config.init.sampler) if "sampler" in config.init else None
    repeats = config.trainer.get("overfit_batches")
    check_online(instantiate(config.sampler), first, processes, repeats)


def _set_branches(config: DictConfig) -> None:
    """Let branches begin without effect where networks begin with others' weights, in place."""
    if config.sharing.get("init") and (config.init.weights or config.init.name == "warm"):
        config.sharing.init = "bicubic"


def _set_reading(config: DictConfig) -> int | None:
    """How many networks train side by side, see `side_by_side`. Of one, the readings of equal work
    are one fit and one run: in place.

    Raises UserError for a batch that cannot be divided.
    """
    from stdo.pipeline.equal import batch_of_each, side_by_side

    networks = side_by_side(
        instantiate(config.sampler),
        instantiate(config.sharing),
        config.chunks - config.sharing.get("bicubic_chunks", 0),
    )
    if networks == 1:
        config.budget.equal = "batch"
    elif networks and config.budget.equal == "steps":
        accumulate = config.trainer.get("accumulate_grad_batches") or 1
        batch_of_each(config.budget.batch, networks, accumulate)
    return networks


def _check_chain(config: DictConfig) -> None:
    """Raise UserError for parts that do not go with a network that is trained chunk after chunk."""
    from stdo.pipeline.chain import check_chain

    shared, sampler = instantiate(config.sharing), instantiate(config.sampler)
    check_chain(shared, sampler, config.chunking.name, "sampler" in config.init)


def _check_partial(config: DictConfig) -> None:
    """Raise UserError for a part that Hydra would make now, and that is made with a video or
    networks later."""
    for part in PARTIAL:
        node = OmegaConf.select(config, part)
        if node is not None and node.get("_partial_") is not True:
            raise UserError(f"{part}._partial_={node.get('_partial_')}: must be true")


def _own_settings(config: DictConfig) -> list[str]:
    """The settings that are part of the method: those that its file in conf/ sets, or the recipe
    that it names, and what takes its value from them. One that has another value by now is the
    user's."""
    wanted = _conf_file("method", str(config.method))
    recipes = [entry["override /recipe"] for entry in wanted.get("defaults", ())
               if "override /recipe" in entry]  # fmt: skip
    files = [wanted, *(_conf_file("recipe", name) for name in recipes)]
    set_by_file = {
        name: value
        for file in files
        for name, value in flat(OmegaConf.to_container(file, resolve=False))
    }
    own = {
        name
        for name, value in set_by_file.items()
        if name not in ("defaults", "method") and OmegaConf.select(config, name) == value
    }
    unresolved = flat(OmegaConf.to_container(config, resolve=False))
    taken = {name for name, value in unresolved if str(value)[2:-1] in own}  # ${backbone.residual}
    return sorted(own | taken)


def _conf_file(group: str, name: str) -> DictConfig:
    """What a choice of a group sets, as it stands there; nothing where it has no file."""
    files = (folder / group / f"{name}.yaml" for folder in conf_dirs())
    there = next((file for file in files if file.is_file()), None)
    loaded = OmegaConf.create({}) if there is None else OmegaConf.load(there)
    assert isinstance(loaded, DictConfig), there
    return loaded


def _options(config: DictConfig) -> Options:
    """What the user adds to the fit: callbacks, what `HONOURED` of the Trainer's arguments ask for,
    validation."""
    from stdo.training.options import Limit, Options

    trainer, budget = config.trainer, config.budget
    return Options(
        callbacks_of(config),
        trainer.get("gradient_clip_val") or None,
        trainer.get("gradient_clip_algorithm") or "norm",
        trainer.get("accumulate_grad_batches") or 1,
        Limit.of(trainer),
        profiler_of(trainer.get("profiler")),
        budget.get("validate_every"),
        budget.get("validate_frames"),
    )


def _for_lightning(config: DictConfig) -> DictConfig:
    """The Trainer's arguments without those that the fit itself honours."""
    from stdo.training.options import HONOURED

    kept = OmegaConf.to_container(config.trainer, resolve=True)
    assert isinstance(kept, dict)
    return OmegaConf.create({key: kept[key] for key in kept if key not in HONOURED})


def _name_as_installed(node: DictConfig) -> None:
    """Name what is of Lightning as in the package ``pytorch_lightning``, in place;
    ``lightning.pytorch`` is another copy of it."""
    for key, value in node.items_ex(resolve=False):
        if OmegaConf.is_dict(value):
            _name_as_installed(value)
        elif key == "_target_" and str(value).startswith("lightning.pytorch."):
            node[key] = str(value).removeprefix("lightning.").replace(".", "_lightning.", 1)


def _tried_trainer(config: DictConfig) -> pl.Trainer:
    """Lightning's Trainer as the configuration asks for it. Sets the strategy that several
    processes need."""
    from stdo.training.trainer import check_settings, strategy_for, tried

    check_settings(config.trainer)
    usual = OmegaConf.load(conf_dir() / "trainer" / "auto.yaml")
    assert isinstance(usual, DictConfig)
    lightning = _for_lightning(config)
    trainer = tried(instantiate(lightning), lightning, usual)
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
    shaping = shaping_settings(OmegaConf.to_container(config, resolve=True))
    kept = {name: value for name, value in shaping.items() if not name.startswith("video.")}
    kept["fingerprint"] = source.fingerprint()
    digest = hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=4).hexdigest()
    return Path(config.paths.outputs) / file_name(source.info.name) / f"{config.name}-{digest}"
