"""Frames per second of preparing a video, stage by stage and as a whole, and of the published way.

    python benchmarks/prepare.py [--video clip.mp4] [--heights 720 1080 2160] [--frames 150] [--quick]

Clips are made of the video (the sample clip) in x264. Stages run alone, on frames in memory. The whole is what
`stdo.train` does before it trains, in a process of its own so that its memory is its own. Beside the clock stands the
time on the cores: on a machine that others use as well, that is the steadier figure.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from common import Spent, clip, machine, median_spent, note, options, peak_rss, spent, tsv
from stdo.chunks.dct import Dct
from stdo.chunks.score import ByPsnr, Scorer, psnr
from stdo.chunks.split import by_score
from stdo.models.pretrained import PretrainedUpscaler
from stdo.models.registry import build
from stdo.models.sharing import Single
from stdo.models.weights import save_networks
from stdo.training.data import PatchData, PatchSize
from stdo.video.degrade import BicubicUpscaler, Degrade, downscale
from stdo.video.reader import VideoFile

SCALE, CHUNKS = 4, 4
STAGED = 12
"""Frames in memory that the stages are timed on."""
REPEATS = 3


def scorers(folder: Path) -> dict[str, Scorer]:
    """Every scorer, by name; the weights of the pretrained one were never trained, which takes as long."""
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

    def write() -> None:
        with (folder / "frames").open("wb") as file:
            for frame in hr:
                file.write(frame.data)

    found: dict[str, tuple[Callable[[], object], int]] = {
        "decode": (lambda: [None for _ in video], video.info.frames or 1),
        "write": (write, len(hr)),
        "degrade": (lambda: [downscale(frame, SCALE) for frame in hr], len(hr)),
        "chunk": (partial(by_score, scores, CHUNKS), len(scores)),
    }
    for name, scorer in scorers(folder).items():
        found[f"score {name}"] = (lambda scorer=scorer: scorer.scores(zip(lr, hr, strict=True), grid, SCALE), len(hr))
    return found


def whole(path: Path) -> None:
    """Prepare and score with bicubic; print wall and core seconds, frames and peak memory. Runs as a process."""
    with tempfile.TemporaryDirectory(dir=path.parent) as cache:
        parts = Path(cache), Degrade(SCALE), PatchSize(), ByPsnr(BicubicUpscaler(SCALE)), by_score, CHUNKS
        data = PatchData(VideoFile(path), *parts)
        took = spent(lambda: (data.prepare_data(), data.setup()))
        print(json.dumps([took.wall, took.cpu, len(data.video.lr), peak_rss()]))


def in_a_process(path: Path) -> tuple[Spent, int, int]:
    """`whole` in a process: time, frames and peak memory."""
    done = subprocess.run([sys.executable, __file__, "whole", path], check=True, capture_output=True, text=True)
    wall, cpu, frames, memory = json.loads(done.stdout)
    return Spent(wall, cpu), frames, memory


def published(video: VideoFile, folder: Path) -> None:
    """The published scripts' way: every LR and HR patch a PNG, scored one by one, sorted into folders by copying."""
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
        difference = np.subtract(small.resize(large.size, Image.Resampling.BICUBIC), large, dtype=np.float32)
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
    turns = [in_a_process(source.path) for _ in range(REPEATS)]
    took, count, memory = sorted(turns, key=lambda turn: turn[0].wall)[REPEATS // 2]
    parts = ("decode", "write", "degrade", "score bicubic")
    slowest = min(rates[part] for part in parts)
    all_rate = count / took.wall
    row(height, "all", took, count, f"{memory / 2**20:.0f}", f"{slowest / all_rate:.2f}", f"{took.cpu / took.wall:.2f}")


def compare(video: str | None, height: int, frames: int, folder: Path) -> None:
    """Ours and the published way on the same clip."""
    source = clip(video, height, frames, folder)
    note("the published way")
    theirs = spent(partial(published, source, folder / "published"))
    ours, _, _ = in_a_process(source.path)
    row(height, "published", theirs, frames)
    row(height, "ours", ours, frames)
    print(
        f"# ours over published: {theirs.wall / ours.wall:.1f} by the clock, {theirs.cpu / ours.cpu:.1f} on the cores"
    )


def main() -> None:
    """Print the tables."""
    if sys.argv[1:2] == ["whole"]:
        whole(Path(sys.argv[2]))
        return
    chosen = options(__doc__, video=None, heights=[720, 1080, 2160], frames=150)
    frames = 48 if chosen.quick else chosen.frames
    print(f"# {machine()}; x{SCALE}, {frames} frames, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        tsv("height", "stage", "frames_s", "core_ms", "peak_mib", "slowest_stage_over_all", "cores_used")
        for height in chosen.heights:
            measure(chosen.video, height, frames, Path(folder))
        tsv("height", "way", "frames_s", "core_ms")
        compare(chosen.video, 1080, 12 if chosen.quick else 50, Path(folder))


if __name__ == "__main__":
    main()
