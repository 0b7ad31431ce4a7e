"""A job built from a configuration, and the run directory that it gives a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from stdo.chunks.split import easy_chunks
from stdo.doors import command_of
from stdo.imports import quickly
from stdo.rundir import file_name, read_result
from stdo.settings import AUTO, check, check_chunks, one_form, whole_numbers
from stdo.trust import NEVER_BUILT, load_config, refuse_foreign, refuse_untrusted
from stdo.types import FrameSource

if TYPE_CHECKING:
    from stdo.models.sharing import Sharing
    from stdo.pipeline import Job
    from stdo.training.data import PatchData

NOT_IN_HASH = (
    "paths", "force", "checkpoint_seconds", "name", "video", "trainer", "logger", "study", "networks_alone",
    "passes_at", "deliver", "weights",
)  # fmt: skip
"""Settings that do not change the result, or (the video's) enter the hash through the fingerprint."""


def finished_job(directory: Path, cache: str | None) -> Job:
    """The job of a finished run, rebuilt from its directory. cache: where the prepared video is; None: where it was.

    Its scores and labels are kept and nothing is trained, so what would score and train is not even built: the folder
    may be a stranger's.
    """
    run = load_config(directory)
    read_result(directory)
    for place, ours in NEVER_BUILT.items():
        OmegaConf.update(run, place, ours, merge=False)
    refuse_foreign(directory, run)
    if cache is not None:
        run.paths.cache = cache
    return build_job(run, directory)


def build_job(config: DictConfig, directory: Path | None = None) -> Job:
    """Build every part of a run; nothing is decoded yet.

    directory: the run directory; None derives it from the configuration and the video's content.
    """
    config = config.copy()
    whole_numbers(config)
    check(config)
    with quickly():
        import pytorch_lightning as pl

        from stdo.models.sharing import seeded
        from stdo.models.weights import starting
        from stdo.pipeline import Job, terminal
        from stdo.tracking.tracker import FilesOnly
        from stdo.training.data import PatchData
        from stdo.training.precision import resolve

    if config.chunking.name == "whole":
        config.chunks = 1
    check_chunks(config)
    config.trainer.precision = resolve(config.trainer.precision, config.trainer.accelerator)
    settings = OmegaConf.to_container(config, resolve=True)
    refuse_untrusted(settings)
    source: FrameSource = instantiate(config.video)
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
    backbone = starting(_network(config), config.init.weights)
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
    return Job(
        directory or run_directory(config, source),
        OmegaConf.to_yaml(config, resolve=True),
        facts,
        data,
        _sharing(config, backbone, data),
        partial(instantiate(config.sampler), **budget),
        instantiate(config.optim.optimizer),
        instantiate(config.optim.schedule),
        instantiate(config.trainer),
        config.checkpoint_seconds,
        command_of(),
        partial(instantiate(config.logger), config=settings) if config.get("logger") else FilesOnly,
        None if config.init.start is None else partial(instantiate(config.init.start), **budget),
        config.optim.loss,
        config.budget.get("min_gain"),  # runs from before it have none
    )


def _sharing(config: DictConfig, backbone: Any, data: PatchData) -> Callable[[int], Sharing]:
    """What builds the networks of so many chunks, once the patches are scored."""
    make: Callable[..., Sharing] = partial(instantiate(config.sharing), backbone)
    return partial(_with_easy_chunks, make, data) if config.sharing.get("bicubic") == AUTO else make


def _with_easy_chunks(make: Callable[..., Sharing], data: PatchData, chunks: int) -> Sharing:
    return make(chunks, bicubic=easy_chunks(data.scores, data.labels))


def _network(config: DictConfig) -> Any:
    """What builds the backbone, as wide as ``backbone.macs`` allows where that is set."""
    from stdo.models.cost import width_for

    network, share = instantiate(config.backbone.network), config.backbone.get("macs")
    if share is None:
        return network
    served = 1 - config.sharing.get("bicubic", 0) / config.chunks
    return partial(network, width=width_for(network, config.scale, share, served))


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
