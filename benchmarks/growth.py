"""How time, memory and disk grow with length, resolution, chunks and number of jobs.

    python benchmarks/growth.py [--lengths 5 15 60 180] [--heights 720 1080 2160]
                                [--chunks 1 4 8] [--jobs 1 2 4]

Each row prepares a video (25 frames a second) and trains ESPCN for some steps, in a process of its
own. Lengths are at 1080 rows; heights, chunks and jobs at 5 seconds. 180 seconds need 29 GB of
disk; a row that has no room is left out.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import pytorch_lightning as pl
import torch

from common import clip, endless, machine, note, options, peak_rss, tsv
from stdo.chunks.sample import Uniform
from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score
from stdo.core.timeshare import timeshare
from stdo.core.types import Frame, VideoInfo
from stdo.models.registry import build
from stdo.models.sharing import Independent
from stdo.training.callbacks import hush
from stdo.training.data import PatchData
from stdo.training.module import Overfit
from stdo.training.precision import resolve
from stdo.training.processes import threads_on
from stdo.training.schedule import cosine
from stdo.video.clip import Clip
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.reader import VideoFile

SCALE, RATE, STEPS = 4, 25, 150


@dataclass(frozen=True)
class Looped:
    """A video played again and again until it has ``frames`` frames."""

    source: VideoFile
    frames: int

    @property
    def info(self) -> VideoInfo:
        """The video's, with the new length."""
        return replace(self.source.info, frames=self.frames)

    def fingerprint(self) -> str:
        """Tells loops of different length apart."""
        return f"{self.source.fingerprint()}-{self.frames}"

    def __iter__(self) -> Iterator[Frame]:
        for t, frame_HWC in enumerate(islice(endless(self.source), self.frames)):
            yield Frame(Fraction(t, RATE), frame_HWC)


def job(path: str, frames: int, chunks: int) -> None:
    """Prepare and train; print what it took. Runs as a process."""
    hush()
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as cache:
        clip = Clip(Looped(VideoFile(path), frames), Degrade(SCALE), cache=Path(cache))
        data = PatchData(clip, ByPsnr(BicubicUpscaler(SCALE)), by_score, chunks)
        began = time.perf_counter()
        data.prepare_data()
        data.setup()
        prepared, memory = time.perf_counter() - began, peak_rss()
        sharing = Independent(partial(build, "espcn", SCALE), chunks)
        labels = data.labels.ravel()
        passes = STEPS * 4 * chunks / labels.size
        data.show(Uniform(labels, sharing.learner_of(labels), batch=4, passes=passes, seed=0))
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", precision=resolve("auto", "cpu"), logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        began = time.perf_counter()
        with timeshare(threads_on(torch.device("cpu"))):
            trainer.fit(
                Overfit(sharing, partial(torch.optim.Adam, lr=1e-4), cosine, STEPS), datamodule=data
            )
        trained = time.perf_counter() - began
        disk = sum(file.stat().st_size for file in Path(cache).rglob("*") if file.is_file())
        print(json.dumps([prepared, trained, memory, peak_rss(), disk]))


def row(
    folder: Path,
    what: str,
    value: float,
    height: int,
    frames: int,
    chunks: int,
    jobs: int = 1,
    **variables: str,
) -> None:
    """Run ``jobs`` jobs at the same time and print the slowest's time, the sum of their memory and
    disk.

    variables: of the environment, beside those that are set.
    """
    note(what, value)
    source = clip(None, height, RATE, folder)
    need = jobs * frames * 3 * source.info.width * height * (1 + 1 / SCALE**2)
    if need > 0.8 * shutil.disk_usage(folder).free:
        tsv(what, value, f"needs {need / 1e9:.0f} GB of disk")
        return
    command = [sys.executable, __file__, "job", source.path, str(frames), str(chunks)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    running = [
        subprocess.Popen(command, text=True, env=os.environ | variables, **pipes)
        for _ in range(jobs)
    ]
    found = [json.loads(one.communicate()[0]) for one in running]
    prepared, trained = (max(one[n] for one in found) for n in (0, 1))
    memory, peak, disk = (sum(one[n] for one in found) for n in (2, 3, 4))
    sizes = (f"{memory / 2**20:.0f}", f"{peak / 2**20:.0f}", f"{disk / 1e9:.2f}")
    tsv(
        what,
        value,
        frames,
        f"{prepared:.1f}",
        f"{frames * jobs / prepared:.1f}",
        f"{trained:.1f}",
        *sizes,
    )


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["job"]:
        job(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return
    chosen = options(
        __doc__,
        lengths=[5, 15, 60, 180],
        heights=[720, 1080, 2160],
        chunks=[1, 4, 8],
        jobs=[1, 2, 4],
    )
    short = slice(0, 2) if chosen.quick else slice(None)
    seconds = 1 if chosen.quick else 5
    print(f"# {machine()}; espcn x{SCALE}, {STEPS} steps of 4 patches a network")
    tsv(
        "grows",
        "value",
        "frames",
        "prepare_s",
        "frames_s",
        "train_s",
        "peak_mib_prepare",
        "peak_mib",
        "disk_gb",
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for length in chosen.lengths[short]:
            row(folder, "seconds", length, 1080, length * RATE, 4)
        for height in chosen.heights[short]:
            row(folder, "rows", height, height, seconds * RATE, 4)
        for chunks in chosen.chunks[short]:
            row(folder, "chunks", chunks, 720, seconds * RATE, chunks)
        for jobs in chosen.jobs[short]:
            row(folder, "jobs", jobs, 720, seconds * RATE, 4, jobs)
        for jobs in chosen.jobs[short]:  # a thread that waits for another keeps its core
            row(folder, "jobs, 1 thread", jobs, 720, seconds * RATE, 4, jobs, OMP_NUM_THREADS="1")


if __name__ == "__main__":
    main()
