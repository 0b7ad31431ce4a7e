"""Frames per second of preparing a video, stage by stage and as a whole, and of the published way.

    python benchmarks/prepare.py [--video clip.mp4] [--heights 720 1080 2160]
                                 [--frames 300] [--quick]

Clips are made of the video (the sample clip) in x264. Stages run alone, on frames in memory. The
whole is what `stdo.train` does before it trains, in a process of its own so that its memory is its
own. Beside the clock stands the time on the cores: on a machine that others use as well, that is
the steadier figure.
"""

import gc
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from common import Spent, clip, machine, median_spent, note, options, peak_rss, spent, tsv
from stdo.chunks.dct import Dct
from stdo.chunks.score import ByPsnr, Scorer, psnr
from stdo.chunks.split import by_score
from stdo.core.types import Frame
from stdo.models.pretrained import PretrainedUpscaler
from stdo.models.registry import build
from stdo.models.sharing import Single
from stdo.models.weights import save_networks
from stdo.training.data import PatchData
from stdo.video.clip import Clip, PatchSize
from stdo.video.degrade import BicubicUpscaler, Degrade, downscale
from stdo.video.reader import VideoFile

SCALE, CHUNKS = 4, 4
STAGED = 12
"""Frames in memory that the stages are timed on."""
REPEATS = 3


def scorers(folder: Path) -> dict[str, Scorer]:
    """Every scorer, by name; the weights of the pretrained one were never trained, which takes as
    long."""
    weights = folder / "espcn.safetensors"
    save_networks(weights, Single(partial(build, "espcn", SCALE), 1), {})
    return {
        "bicubic": ByPsnr(BicubicUpscaler(SCALE)),
        "dct hr": Dct("hr"),
        "dct lr": Dct("lr"),
        "pretrained espcn": ByPsnr(PretrainedUpscaler(str(weights), "espcn", SCALE)),
    }


def stages(video: VideoFile, folder: Path) -> dict[str, tuple[Callable[[], object], int]]:
    """Each stage alone: what to do, and how many frames that takes in."""
    hr = [frame.rgb_HWC for _, frame in zip(range(STAGED), video, strict=False)]
    lr = [downscale(frame, SCALE) for frame in hr]
    grid = PatchSize().grid(*lr[0].shape[:2], SCALE)
    scores = np.random.default_rng(0).normal(30, 5, (450, grid.rows, grid.cols)).astype(np.float32)

    frames = video.info.frames or 1

    def write() -> None:
        with (folder / "frames").open("wb") as file:
            for t in range(frames):
                file.write(hr[t % STAGED].data)
        (folder / "frames").unlink()

    found: dict[str, tuple[Callable[[], object], int]] = {
        "decode": (lambda: [None for _ in video], frames),
        "write": (write, frames),
        "degrade": (lambda: [downscale(frame, SCALE) for frame in hr], len(hr)),
        "chunk": (partial(by_score, scores, CHUNKS), len(scores)),
    }
    for name, scorer in scorers(folder).items():
        found[f"score {name}"] = (
            lambda scorer=scorer: scorer.scores(zip(lr, hr, strict=True), grid),
            len(hr),
        )
    return found


def whole(path: Path) -> None:
    """Prepare and score with bicubic; print wall and core seconds, frames and peak memory. Runs as
    a process."""
    gc.freeze()  # as the door does with all that it has imported
    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        clip = Clip(VideoFile(path), Degrade(SCALE), cache=Path(cache))
        data = PatchData(clip, ByPsnr(BicubicUpscaler(SCALE)), by_score, CHUNKS)
        took = spent(lambda: (data.prepare_data(), data.setup()))
        print(json.dumps([took.wall, took.cpu, len(data.video.lr), peak_rss()]))


def in_a_process(video: VideoFile) -> tuple[Spent, int, int]:
    """`whole` in a process: time, frames and peak memory.

    Its page cache gets memory that was used a moment ago. A virtual machine is given memory when it
    first touches it, which costs 2 to 10 ms a 1080p frame, and gives it back when it is free for a
    while: chance would be measured.
    """
    path, info = video.path, video.info
    used = path.with_suffix(".used")
    with used.open("wb") as file:
        for _ in range(info.frames or 1):
            file.write(bytes(3 * info.height * info.width))
    used.unlink()
    done = subprocess.run(
        [sys.executable, __file__, "whole", path], check=True, capture_output=True, text=True
    )
    wall, cpu, frames, memory = json.loads(done.stdout)
    return Spent(wall, cpu), frames, memory


def published(video: Iterable[Frame], folder: Path) -> None:
    """The published scripts' way: every LR and HR patch a PNG, scored one by one, sorted into
    folders by copying."""
    scores: dict[str, float] = {}
    for sort in ("LR", "HR"):
        (folder / sort).mkdir(parents=True)
    for t, frame in enumerate(video):
        hr = Image.fromarray(frame.rgb_HWC)
        lr = hr.resize((hr.width // SCALE, hr.height // SCALE), Image.Resampling.BICUBIC)
        grid = PatchSize().grid(lr.height, lr.width, SCALE)
        for n, (top, left) in enumerate(grid.origins.tolist()):
            box = (left, top, left + grid.patch_w, top + grid.patch_h)
            lr.crop(box).save(folder / "LR" / f"{t}_{n}.png")
            hr.crop([SCALE * side for side in box]).save(folder / "HR" / f"{t}_{n}.png")
    for path in (folder / "LR").iterdir():
        small, large = (Image.open(folder / sort / path.name) for sort in ("LR", "HR"))
        difference = np.subtract(
            small.resize(large.size, Image.Resampling.BICUBIC), large, dtype=np.float32
        )
        scores[path.name] = float(psnr(np.square(difference).mean()))
    for rank, name in enumerate(sorted(scores, key=scores.__getitem__)):
        for sort in ("LR", "HR"):
            chunk = folder / sort / str(rank * CHUNKS // len(scores))
            chunk.mkdir(exist_ok=True)
            shutil.copy(folder / sort / name, chunk)


def row(height: int, stage: str, took: Spent, frames: int, *cells: object) -> None:
    """Print frames per second of the clock, and milliseconds on the cores."""
    tsv(height, stage, f"{frames / took.wall:.1f}", f"{took.cpu / frames * 1000:.1f}", *cells)


def measure(video: str | None, height: int, frames: int, folder: Path) -> None:
    """All rows of one height."""
    note(f"making a clip of {height} rows")
    source = clip(video, height, frames, folder)
    rates = {}
    for name, (work, count) in stages(source, folder).items():
        note(height, name)
        took = median_spent(work, REPEATS)
        rates[name] = count / took.wall
        row(height, name, took, count)
    turns = [in_a_process(source) for _ in range(REPEATS)]
    took, count, memory = sorted(turns, key=lambda turn: turn[0].wall)[REPEATS // 2]
    parts = ("decode", "write", "degrade", "score bicubic")
    slowest = min(rates[part] for part in parts)
    all_rate = count / took.wall
    row(
        height,
        "all",
        took,
        count,
        f"{memory / 2**20:.0f}",
        f"{slowest / all_rate:.2f}",
        f"{took.cpu / took.wall:.2f}",
    )


def compare(video: str | None, height: int, frames: int, seconds: int, folder: Path) -> None:
    """Ours on a clip, and the published way on its first seconds."""
    source = clip(video, height, frames, folder)
    count = min(frames, round(seconds * source.info.rate))
    note("the published way")
    theirs = spent(partial(published, itertools.islice(source, count), folder / "published"))
    row(height, "published", theirs, count)
    ours, count_ours, _ = in_a_process(source)
    row(height, "ours", ours, count_ours)
    clock, cores = (
        theirs.wall / count * count_ours / ours.wall,
        theirs.cpu / count * count_ours / ours.cpu,
    )
    print(f"# ours over published: {clock:.1f} by the clock, {cores:.1f} on the cores")


def main() -> None:
    """Print the tables."""
    if sys.argv[1:2] == ["whole"]:
        whole(Path(sys.argv[2]))
        return
    chosen = options(__doc__, video=None, heights=[720, 1080, 2160], frames=300)
    frames = 48 if chosen.quick else chosen.frames
    print(f"# {machine()}; x{SCALE}, {frames} frames, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        tsv(
            "height",
            "stage",
            "frames_s",
            "core_ms",
            "peak_mib",
            "slowest_stage_over_all",
            "cores_used",
        )
        for height in chosen.heights:
            measure(chosen.video, height, frames, Path(folder))
        tsv("height", "way", "frames_s", "core_ms")
        compare(chosen.video, 1080, frames, 2, Path(folder))


if __name__ == "__main__":
    main()
