"""Weights & Biases: one W&B run for each run directory, online or offline, never with a question asked."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger

from stdo.tracking.curves import CURVES, CurveLogger, replay
from stdo.tracking.memory import Memory
from stdo.tracking.summary import chunk_table, crop_table, figures, frame_table, pictures
from stdo.tracking.tracker import require
from stdo.types import Json, UserError

if TYPE_CHECKING:
    import wandb

ANSWER_SECONDS, INIT_SECONDS, UPLOAD_SECONDS = 3, 30, 300


class WandbTracker:
    """One W&B run: configuration, training curve, final figures in all protocols, tables, pictures.

    directory: the run directory; W&B's files lie in its folder ``wandb``. facts: kept in the W&B configuration under
    ``facts``. config: the resolved configuration.
    mode: ``online``, ``offline``, or ``auto``: online where an API key is configured and the server answers, else
    offline; ``auto`` obeys WANDB_MODE. group: None takes the study. tags: beside method, backbone, scale and chunks.
    artifact: keep the weights and chunks as an artifact.

    Raises UserError when the package is missing, and when online was asked for and cannot be had.
    """

    def __init__(
        self,
        directory: Path,
        facts: Json,
        config: Json,
        *,
        project: str = "stdo",
        entity: str | None = None,
        mode: str = "auto",
        group: str | None = None,
        tags: Sequence[str] = (),
        artifact: bool = False,
    ) -> None:
        require("wandb", "wandb")
        self._directory, self._artifact = directory, artifact
        self._memory = Memory(directory / "wandb")
        if (self._memory.facts.get("project"), self._memory.facts.get("entity")) != (project, entity):
            self._memory.clear()
        if "id" not in self._memory.facts:
            self._memory.keep(project=project, entity=entity, id=_new_id(directory))
        self._mode = mode
        self._start: Json = {
            "project": project,
            "entity": entity,
            "id": self._memory.facts["id"],
            "name": directory.name,
            "group": group or facts.get("study"),
            "job_type": facts["method"],
            "tags": [facts["method"], facts["backbone"], f"x{facts['scale']}", f"k{facts['chunks']}", *tags],
            "config": config | {"facts": facts},
            "dir": str(directory),
            "resume": "allow",
        }
        self._run: wandb.Run | None = None
        self._own_home = ExitStack()

    def loggers(self) -> list[Logger]:
        """The training curve; starts the W&B run."""
        self._open()
        self._memory.keep(curve=True)
        return [CurveLogger("wandb", self._row)]

    def result(self, metrics: Json) -> None:
        """Figures into the summary; tables, pictures and, where asked for, weights."""
        if self._memory.told(metrics):
            return
        run = self._open()
        if not self._memory.facts.get("curve"):  # trained with another logger
            replay(self._directory / CURVES, self._row)
        run.log(_tables(self._directory, metrics))
        run.summary.update(figures(metrics))
        if self._artifact:
            run.log_artifact(_weights(self._directory, run.id, metrics))
        self._memory.keep_told(metrics)

    def close(self, failed: bool) -> None:
        """End the W&B run and wait for its upload, up to five minutes; what is not sent by then stays on disk."""
        run, self._run = self._run, None
        with self._own_home:
            if run is None:
                return
            try:
                run.finish(exit_code=int(failed))
            except TimeoutError:
                _say(f"W&B: not everything was sent; {_sync(run)}")

    def _row(self, metrics: Mapping[str, float], step: int) -> None:
        run = self._open()
        if step >= run.step:  # a resumed fit repeats steps that W&B already has, with the same values
            run.log(dict(metrics), step=step)

    def _open(self) -> wandb.Run:
        if self._run is None:
            self._own_home.enter_context(_home(self._directory / "wandb"))
            self._run = _init(self._start, self._mode)
            self._run.define_metric("train/presentations", hidden=True)
            self._run.define_metric("train/*", step_metric="train/presentations")
        return self._run


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Have W&B put the files of its tables here instead of the user's home, unless it was told where."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder.absolute())
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def _new_id(directory: Path) -> str:
    """An id that tells the run and is used once: W&B takes no run back whose id was deleted there."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', directory.name)[:100]}-{secrets.token_hex(2)}"


def _init(start: Json, asked: str) -> wandb.Run:
    """Start or resume a W&B run; falls back to offline unless online was asked for."""
    # Set before the import: W&B reports on its own working even offline, where nobody has agreed to that.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_transaction_log_flush_interval=1,  # a killed run loses no more than that; W&B's own is 15 seconds
        init_timeout=INIT_SECONDS,
        finish_timeout=UPLOAD_SECONDS,
        finish_timeout_raises=True,
    )
    wandb.setup(wandb.Settings(silent=True))
    mode, why = _mode(asked)
    if mode != "offline":
        try:
            run = wandb.init(**start, mode=mode, settings=settings)
        except wandb.Error as error:
            mode, why = "offline", " ".join(str(error).split())
            wandb.teardown()  # W&B's service holds the id of a run that did not start
            wandb.setup(wandb.Settings(silent=True))
        else:
            _say(f"W&B: {run.url}" if run.url else "W&B: disabled")
            return run
    if asked == "online":
        raise UserError(f"logger.mode=online: {why}; use logger.mode=auto or offline")
    run = wandb.init(**start, mode="offline", settings=settings)
    _say(f"W&B: offline ({why}); {_sync(run)}")
    return run


def _mode(asked: str) -> tuple[Any, str]:
    """``online``, ``offline`` or what WANDB_MODE says, and why it is offline."""
    import wandb

    if asked == "offline":
        return "offline", "logger.mode=offline"
    set_mode = os.environ.get("WANDB_MODE", "").strip().lower()
    if asked == "auto" and set_mode in ("offline", "disabled", "online"):
        return set_mode, f"WANDB_MODE={set_mode}"
    try:
        if not wandb.login(prompt=False, verify=False):
            return "offline", "no API key; wandb login asks for one"
    except wandb.Error as error:
        return "offline", " ".join(str(error).split())
    host = str(wandb.setup().settings.base_url)
    return ("online", "") if _answers(host) else ("offline", f"no answer from {host}")


def _answers(host: str) -> bool:
    """Whether a server answers within a few seconds, whatever it says."""
    try:
        urllib.request.urlopen(host, timeout=ANSWER_SECONDS).close()  # noqa: S310  W&B's own setting
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _tables(directory: Path, metrics: Json) -> Json:
    """Tables by chunk and by frame, and the pictures; crops of one number show the same place in every run."""
    import wandb

    tables = {"chunks": chunk_table(metrics), "frames": frame_table(directory)}
    logged: Json = {
        f"tables/{name}": wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
        for name, rows in tables.items()
        if rows
    }
    logged |= {f"pictures/{name}": wandb.Image(str(path)) for name, path in pictures(directory).items()}
    for crop in crop_table(directory):
        for name, path in crop["files"].items():
            caption = f"frame {crop['frame']}, {crop['why']}" + (f", {crop[name]:.2f} dB" if name in crop else "")
            logged.setdefault(f"crops/{name}", []).append(wandb.Image(str(path), caption=caption))
    return logged


def _weights(directory: Path, run_id: str, metrics: Json) -> wandb.Artifact:
    """The networks, and which chunk each patch belongs to."""
    import wandb

    artifact = wandb.Artifact(f"weights-{run_id}", type="model", metadata=figures(metrics))
    for name in ("weights.safetensors", "chunks.npz"):
        artifact.add_file(str(directory / name))
    return artifact


def _sync(run: wandb.Run) -> str:
    """How to send what is on disk: also the parts of the run that were killed earlier."""
    parts = Path(str(run.settings.sync_dir)).parent
    return f"send it with: wandb sync {shlex.quote(str(parts))}/*run-*"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
