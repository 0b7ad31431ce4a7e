"""Weights & Biases: one W&B run per run directory, online or offline, without questions."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pytorch_lightning.loggers import Logger

from stdo.core.provenance import as_typed
from stdo.core.types import Json, UserError
from stdo.runs.files import read_provenance
from stdo.runs.tracking.curves import CurveLogger, replay
from stdo.runs.tracking.memory import Memory
from stdo.runs.tracking.summary import chunk_table, crop_table, figures, frame_table, pictures
from stdo.runs.tracking.tracker import require
from stdo.runs.tracking.wandb_told import OURS, Mode, mode_of, reachable, told_to_wandb

if TYPE_CHECKING:
    import wandb

PROJECT = "stdo"
"""The project where neither the user nor W&B's own settings name one."""


class WandbTracker:
    """One W&B run: configuration, training curve, final figures in all protocols, tables, pictures.

    What the user has set in W&B's own ways (``WANDB_PROJECT`` and its like, ``wandb/settings``
    below the current folder, ``~/.config/wandb/settings``) beats every default here, and is beaten
    by an argument that is given. A ``wandb agent`` beats both: the run is then one of its sweep,
    and has the agent's run id, project and entity.

    Args:
        directory: the run directory; W&B's files lie in its folder ``wandb``, unless ``WANDB_DIR``
            is set.
        facts: kept in the W&B configuration under ``facts``.
        config: the resolved configuration.
        project: None: what W&B was told, else `PROJECT`.
        entity: a user or team. None: what W&B was told, else the account's own.
        mode: ``online``, ``offline``, or ``auto``: what W&B was told, else online where an API key
            is configured and the server answers, else offline.
        group: None: what W&B was told, else the study, else the multirun.
        tags: beside method, backbone, scale, chunks and those of ``WANDB_TAGS``.
        artifact: keep the weights and chunks as an artifact.

    Raises:
        UserError: The package is missing, W&B's settings are none, or online was asked for and
            cannot be had; or one run id is given for all jobs of a multirun.
    """

    def __init__(
        self,
        directory: Path,
        facts: Json,
        config: Json,
        *,
        project: str | None = None,
        entity: str | None = None,
        mode: str = "auto",
        group: str | None = None,
        tags: Sequence[str] = (),
        artifact: bool = False,
    ) -> None:
        require("wandb", "wandb")
        self._directory, self._artifact = directory, artifact
        self._told = told = told_to_wandb()
        self._run: wandb.Run | None = None
        self._own_home = ExitStack()
        self._mode = mode_of(mode, told)
        if self._mode.name == "disabled":
            return
        multirun = config.get("multirun")
        if multirun and "run_id" in told:
            raise UserError(
                f"WANDB_RUN_ID={told['run_id']}: is the id of one run, and the jobs of a multirun "
                "are several; unset it, or run the jobs one by one"
            )
        project, entity = _place(project, entity, told)
        self._memory = Memory(directory / "wandb")
        if (self._memory.facts.get("project"), self._memory.facts.get("entity")) != (
            project,
            entity,
        ):
            self._memory.clear()
        run_id = told.get("run_id") or self._memory.facts.get("id") or _new_id(directory)
        if run_id != self._memory.facts.get("id"):
            self._memory.clear()
            self._memory.keep(project=project, entity=entity, id=run_id)
        group = group or told.get("run_group") or facts.get("study")
        # A multirun that is started again has another name; its runs keep theirs
        group = group or self._memory.facts.get("group") or multirun
        if group:
            self._memory.keep(group=group)
        known = [facts["method"], facts["backbone"], f"x{facts['scale']}", f"k{facts['chunks']}"]
        self._start: Json = {
            "project": project,
            "entity": entity,
            "id": run_id,
            "name": told.get("run_name") or directory.name,
            "group": group,
            "job_type": told.get("run_job_type") or facts["method"],
            "tags": list(dict.fromkeys([*known, *tags, *(told.get("run_tags") or ())])),
            "config": config | {"facts": facts, "provenance": _provenance(directory)},
            "dir": None if "root_dir" in told else str(directory),
            "resume": told.get("resume") or "allow",
        }

    def loggers(self) -> list[Logger]:
        """The training curve; starts the W&B run."""
        if self._mode.name == "disabled":
            _say(f"W&B: disabled ({self._mode.why})")
            return []
        self._open()
        self._memory.keep(curve=True)
        return [CurveLogger("wandb", self._row)]

    def result(self, metrics: Json) -> None:
        """Figures into the summary; tables, pictures and, where asked for, weights."""
        if self._mode.name == "disabled" or self._memory.told(metrics):
            return
        run = self._open()
        if not self._memory.facts.get("curve"):  # trained with another logger
            replay(self._directory, self._row)
        run.log(_tables(self._directory, metrics))
        run.summary.update(figures(metrics))
        device = {"device": metrics.get("device")}
        run.config.update(device, allow_val_change=True)  # type: ignore[no-untyped-call]
        if self._artifact:
            run.log_artifact(_weights(self._directory, run.id, metrics))
        self._memory.keep_told(metrics)

    def close(self, failed: bool) -> None:
        """End the W&B run and wait for its upload, up to five minutes; what is not sent by then
        stays on disk."""
        run, self._run = self._run, None
        with self._own_home:
            if run is None:
                return
            try:
                run.finish(exit_code=int(failed))
            except TimeoutError:
                _say(f"W&B: not everything was sent; {_sync(run, 'root_dir' in self._told)}")

    def _row(self, metrics: Mapping[str, float], step: int) -> None:
        run = self._open()
        # A resumed fit repeats steps that W&B already has, with the same values
        if step >= run.step:
            run.log(dict(metrics), step=step)

    def _open(self) -> wandb.Run:
        if self._run is None:
            root = Path(self._told.get("root_dir", self._directory))
            self._own_home.enter_context(_home(root / "wandb"))
            self._run = _init(self._start, self._mode, self._told)
            self._run.define_metric("train/presentations", hidden=True)
            self._run.define_metric("train/*", step_metric="train/presentations")
        return self._run


def _place(project: str | None, entity: str | None, told: Json) -> tuple[str, str | None]:
    """Project and entity: as given, else as W&B was told. In a sweep of ``wandb agent`` the
    sweep's, and a line says so of others that were given."""
    if "sweep_id" not in told:
        return project or told.get("project") or PROJECT, entity or told.get("entity")
    for name, given in (("project", project), ("entity", entity)):
        if given and given != told.get(name):
            _say(
                f"note: logger.{name}={given} is not used: W&B's sweep {told['sweep_id']} has "
                f"{told.get(name) or 'one of its own'}"
            )
    return told.get("project") or PROJECT, told.get("entity")


def _provenance(directory: Path) -> Json:
    """Commit, machine, command and versions, as the run directory keeps them; of uncommitted
    changes only whether there are any."""
    found = read_provenance(directory)
    shown = {name: value for name, value in found.items() if name not in ("diff", "command")}
    if found.get("command"):
        shown["command"] = as_typed(found["command"])
    if found.get("diff") is not None:
        shown["dirty"] = bool(found["diff"])
    return shown


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Have W&B put the files of its tables here instead of the user's home, unless it was told
    where."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder.absolute())
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def _new_id(directory: Path) -> str:
    """An id that tells the run and is used once: W&B takes no run back whose id was deleted
    there."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', directory.name)[:100]}-{secrets.token_hex(2)}"


def _init(start: Json, asked: Mode, told: Json) -> wandb.Run:
    """Start or resume a W&B run; falls back to offline unless ``logger.mode=online`` was
    asked for."""
    import wandb

    ours = {name: value for name, value in OURS.items() if name not in told}
    settings = wandb.Settings(**ours)
    mode = asked if asked.name == "offline" else reachable(asked)
    if mode.name == "online":
        try:
            run = wandb.init(**start, mode="online", settings=settings)
        except wandb.Error as error:
            mode = Mode("offline", " ".join(str(error).split()))
            wandb.teardown()  # W&B's service holds the id of a run that did not start
            wandb.setup(wandb.Settings(silent=True))
        else:
            _say(f"W&B: {run.url}")
            return run
    if asked.why == "logger.mode=online":
        raise UserError(f"logger.mode=online: {mode.why}; use logger.mode=auto or offline")
    run = wandb.init(**start, mode="offline", settings=settings)
    _say(f"W&B: offline ({mode.why}); {_sync(run, 'root_dir' in told)}")
    return run


def _tables(directory: Path, metrics: Json) -> Json:
    """Tables by chunk and by frame, and the pictures; crops of one number show the same place in
    every run."""
    import wandb

    tables = {"chunks": chunk_table(metrics), "frames": frame_table(directory)}
    logged: Json = {
        f"tables/{name}": wandb.Table(
            columns=list(rows[0]), data=[list(row.values()) for row in rows]
        )
        for name, rows in tables.items()
        if rows
    }
    logged |= {
        f"pictures/{name}": wandb.Image(str(path)) for name, path in pictures(directory).items()
    }
    for crop in crop_table(directory):
        for name, path in crop["files"].items():
            caption = f"frame {crop['frame']}, {crop['why']}" + (
                f", {crop[name]:.2f} dB" if name in crop else ""
            )
            logged.setdefault(f"crops/{name}", []).append(wandb.Image(str(path), caption=caption))
    return logged


def _weights(directory: Path, run_id: str, metrics: Json) -> wandb.Artifact:
    """The networks, and which chunk each patch belongs to."""
    import wandb

    artifact = wandb.Artifact(f"weights-{run_id}", type="model", metadata=figures(metrics))
    for name in ("weights.safetensors", "chunks.npz"):
        artifact.add_file(str(directory / name))
    return artifact


def _sync(run: wandb.Run, shared: bool) -> str:
    """How to send what is on disk: also the parts of the run that were killed earlier.

    Args:
        shared: Whether the folder is one that the user has set, and holds other runs as well.
    """
    parts = Path(str(run.settings.sync_dir)).parent
    mine = f"-{run.id}" if shared else ""
    return f"send it with: wandb sync {shlex.quote(str(parts))}/*run-*{mine}"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
