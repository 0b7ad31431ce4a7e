"""Keep the status file of a job while it is at work."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from stdo.cli.task import Task
from stdo.core.types import Json, UserError
from stdo.runs.catalogue import Entry, Folder, called

if TYPE_CHECKING:
    from stdo.pipeline.fit import Job
    from stdo.runs.tracking.tracker import MakeTracker

_BEST = 100.0
"""dB that are shown for a picture without any error."""

_EVERY = 1.0
"""Seconds between two status files of a fit."""


class Status:
    """The status file of one video, while it is encoded.

    Args:
        folder: Of the catalogue.
        task: The video.
    """

    def __init__(self, folder: Folder, task: Task) -> None:
        self.folder, self._key, self._forced = folder, task.key, task.forced
        self._began, self._written = time.monotonic(), 0.0
        self.entry = Entry(video=called(Path(task.video)), recipe=task.recipe)
        with suppress(UserError):  # a damaged one is replaced
            before = folder.read(task.key)
            if before is not None and (before.video, before.recipe) == (
                self.entry.video, task.recipe
            ):  # fmt: skip
                self.entry = before
        self._spent = self.entry.seconds

    def seconds(self) -> float:
        """What all processes of this video have taken."""
        return round(self._spent + time.monotonic() - self._began, 1)

    def set(self, **changes: Any) -> None:
        """Change the status, and write it."""
        self.entry = replace(self.entry, **changes)
        self.folder.write(self._key, self.entry)
        self._written = time.monotonic()

    def watching(self, job: Job) -> MakeTracker:
        """The job's tracker, and one that keeps the status."""
        from stdo.runs.tracking.several import Several

        return partial(Several, [job.tracker, partial(_Told, self, self._forced, job)])

    def step(self, done: int, steps: int, psnr: float, left: float) -> None:
        """Keep how far a fit is, not too often."""
        if time.monotonic() - self._written >= _EVERY or self.entry.state != "training":
            self.set(
                state="training",
                step=min(done, steps),
                steps=steps,
                psnr=round(min(psnr, _BEST), 3),
                eta=round(left, 1),
                seconds=self.seconds(),
            )


class _Told:
    """A tracker that keeps the status file."""

    def __init__(self, status: Status, forced: str, job: Job, directory: Path, _: Json) -> None:
        self._status, self._job = status, job
        self._first: tuple[int, float] | None = None
        self._steps = 0
        status.set(run=str(directory), forced=forced)  # what was there before is gone by now

    def loggers(self) -> list[Any]:
        """One that passes the curve on; the video is prepared by now."""
        import torch

        from stdo.runs.tracking.curves import CurveLogger

        job, label_N = self._job, self._job.data.labels.ravel().astype("int64")
        with torch.random.fork_rng(devices=[]):  # the fit's own networks are drawn later
            sharing = job.sharing(int(label_N.max()) + 1)
        samplers = job.samplers(label_N, sharing.learner_of(label_N))
        self._steps = sum(each.steps for each in samplers)
        return [CurveLogger("status", self._row)]

    def _row(self, metrics: Mapping[str, float], step: int) -> None:
        psnr = metrics.get("train/psnr")
        if psnr is None:
            return
        now = time.monotonic()
        first, began = self._first = self._first or (step, now)
        pace = (now - began) / max(1, step - first)
        self._status.step(step, self._steps, psnr, max(0, self._steps - step) * pace)

    def result(self, metrics: Json) -> None:  # noqa: ARG002
        """Packing comes next."""
        self._status.set(state="packing", step=self._status.entry.steps, eta=None)

    def close(self, failed: bool) -> None:
        """Nothing to do."""
