"""What the doors share: Hydra's start, one-line errors, and a job built from a configuration.

Only this module and the doors know Hydra and OmegaConf. Heavy packages are imported when they are needed, so that
``--help`` answers at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stdo.files import disk_error
from stdo.imports import uncollected
from stdo.locks import RANKS, BusyError
from stdo.provenance import as_typed
from stdo.rundir import file_name, read_result
from stdo.settings import check, check_chunks
from stdo.signals import Stopped, heeded
from stdo.sweeps import BUSY, FAILED, FINISHED, Outcome, Sweep, failures, job_command
from stdo.trust import NEVER_BUILT, conf_dir, load_config, refuse_foreign, refuse_untrusted
from stdo.types import FrameSource, UserError

if TYPE_CHECKING:
    from stdo.pipeline import Job

OmegaConf.register_new_resolver("pick", lambda choices, key: choices[key], replace=True)
"""``${pick:${choices},${scale}}``: the entry of a mapping that another setting names."""

NOT_IN_HASH = (
    "paths", "force", "checkpoint_seconds", "name", "video", "trainer", "logger", "study", "networks_alone",
    "passes_at", "deliver", "weights",
)  # fmt: skip
"""Settings that do not change the result, or (the video's) enter the hash through the fingerprint."""


def enter(task: Callable[[DictConfig], Path | None], config_name: str) -> None:
    """Run a Hydra task; a user's mistake becomes one line and exit code 2.

    task: returns its run directory. In a sweep, a job that fails is listed at the end and the others go on.
    ``HYDRA_FULL_ERROR=1`` shows the traceback instead.
    """
    asked = os.environ.get("HYDRA_FULL_ERROR")
    full = asked == "1"
    several = {"-m", "--multirun"} & set(sys.argv[1:])
    sweeps: list[tuple[Sweep, Outcome]] = []

    def job(config: DictConfig) -> None:
        if HydraConfig.get().mode == RunMode.MULTIRUN and not full:
            sweeps.append(_sweep_job(task, config))
            return
        with _mistakes(full):  # here as well: Hydra would print the overrides of a job that fails
            task(config)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra hand its errors to us instead of printing them
    try:
        with _mistakes(full), heeded():
            if several and config_name != "train":
                raise UserError(f"{several.pop()}: only stdo.train sweeps; call this once for each run")
            hydra.main(version_base="1.3", config_path=str(conf_dir().resolve()), config_name=config_name)(job)()
            _close_sweep(sweeps)
    finally:
        os.environ["HYDRA_FULL_ERROR"] = asked or "0"


def _sweep_job(task: Callable[[DictConfig], Path | None], config: DictConfig) -> tuple[Sweep, Outcome]:
    """Run one job of a sweep and keep what became of it."""
    runtime = HydraConfig.get()
    _refuse_processes(config.trainer)
    sweep = Sweep(Path(config.paths.outputs), config.study or Path(runtime.sweep.dir).name)
    command = as_typed(command_of())
    sys.stderr.write(f"\n[{runtime.job.num + 1}] {command}\n")
    try:
        outcome = Outcome(command, str(task(config)), FINISHED)
    except Exception as error:
        if not isinstance(error, UserError | HydraException | OmegaConfBaseException):
            traceback.print_exc()
        message = one_line(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {one_line(error)}"
        outcome = Outcome(command, None, BUSY if isinstance(error, BusyError) else FAILED, message)
        sys.stderr.write(f"stdo: {message}\n")
    sweep.record(outcome)
    return sweep, outcome


def _refuse_processes(trainer: DictConfig) -> None:
    """Raise UserError where Lightning would start processes of its own: each would run the whole sweep again."""
    devices = trainer.get("devices", 1)
    one = devices in (1, "1") or (not isinstance(devices, int | str) and len(devices) == 1)
    if one or any(name in os.environ for name in RANKS):
        return
    raise UserError(f"trainer.devices={devices}: must be 1 in a sweep; run the jobs one by one, or under torchrun")


def _close_sweep(jobs: list[tuple[Sweep, Outcome]]) -> None:
    """Print what came of a sweep; exit code 1 when a job failed."""
    if not jobs:
        return
    from stdo.reporting.runs import collect
    from stdo.reporting.table import comparison_table

    outcomes = [outcome for _, outcome in jobs]
    finished = dict.fromkeys(Path(job.directory) for job in outcomes if job.directory is not None)
    if finished:
        sys.stdout.write(f"\n{comparison_table(collect(finished))}\n\n")
    sys.stderr.write(f"{jobs[0][0].path}: {len(finished)} runs; python -m stdo.report runs=[{jobs[0][0].path}]\n")
    listed = failures(outcomes)
    if listed:
        sys.stderr.write(f"{listed}\n")
        sys.exit(1)


def command_of() -> list[str]:
    """The words of the command that repeats the job that Hydra is running; without Hydra, those of this process."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return sys.argv
    runtime = HydraConfig.get()
    return job_command(list(runtime.overrides.task), runtime.runtime.choices.get("experiment"))


@contextmanager
def _mistakes(full: bool) -> Iterator[None]:
    """Exit with one line and code 2 for a user's mistake, 130 for Ctrl-C, 143 for SIGTERM. full: raise mistakes."""
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if full:
            raise
        sys.stderr.write(f"stdo: {one_line(error)}\n")
        sys.exit(2)
    except OSError as error:
        mended = disk_error(error, Path(error.filename or "."))
        if full or mended is error:
            raise
        sys.stderr.write(f"stdo: {one_line(mended)}\n")
        sys.exit(2)
    except Stopped as stop:
        sys.stderr.write(f"\nstdo: stopped by {stop.name}; the same command goes on from here\n")
        sys.exit(stop.exit_code)


def one_line(error: BaseException) -> str:
    """What went wrong and what is allowed, on one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return " ".join(str(cause).split())
        cause = cause.__cause__
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group}={name}: must be one of {', '.join(error.options)}"
    missing = re.search(r"Missing mandatory value: (\S+)", str(error))
    if missing:
        return f"{missing[1]}: must be given"
    unknown = re.match(r"Could not override '([^']+)'", str(error))
    if unknown:
        return f"{unknown[1]}: no such setting; --cfg job lists them all"
    return " ".join(str(error).split())


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
    check(config)
    from functools import partial

    with uncollected():
        import pytorch_lightning as pl

        from stdo.models.sharing import seeded
        from stdo.models.weights import starting
        from stdo.pipeline import Job, terminal
        from stdo.tracking.tracker import FilesOnly
        from stdo.training.data import PatchData
        from stdo.training.precision import resolve

    config = config.copy()
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
        "bicubic_chunks": config.sharing.get("bicubic", 0),
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
        config.budget.get("min_gain"),  # runs from before it have none
    )


def _network(config: DictConfig) -> Any:
    """What builds the backbone, as wide as ``backbone.macs`` allows where that is set."""
    from functools import partial

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
    """``<outputs>/<video>/<name>-<hash8>``, the hash over everything that changes the result."""
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    kept = {key: value for key, value in settings.items() if key not in NOT_IN_HASH}
    kept |= {"fingerprint": source.fingerprint(), "precision": config.trainer.precision}
    digest = hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=4).hexdigest()
    return Path(config.paths.outputs) / file_name(source.info.name) / f"{config.name}-{digest}"
