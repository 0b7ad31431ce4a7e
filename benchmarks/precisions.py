"""What a player's precisions cost on packages of one's own: PSNR against the original, and how far
pixels move.

    python benchmarks/precisions.py outputs/<video>/<run> … [--cache cache]

Of finished runs that were delivered (`python -m stdo.deliver run=…`). Each frame is played in every
precision: PSNR `frame`, the worst frame's loss, the mean squared error and the largest difference
from what fp32 plays, in levels.
"""

import argparse
from pathlib import Path
from statistics import fmean

import numpy as np

from common import machine, note, tsv
from stdo.chunks.score import psnr, squared_error
from stdo.config.clips import clip_of
from stdo.core.types import U8
from stdo.encoder.pack import Delivery
from stdo.player.client import Player
from stdo.player.runtime import PRECISIONS


def error(one_HWC: U8, other_HWC: U8) -> float:
    """Mean squared error of two frames, in levels."""
    return float(squared_error(one_HWC, other_HWC).mean(dtype=np.float64)) / 3


def compare(run: Path, cache: str | None) -> None:
    """Print a row for each precision."""
    clip = clip_of(run, cache)
    video, package = clip.video, Delivery().path(run, clip.info.name)
    note(run.name)
    psnrs, moved, furthest = ({precision: [] for precision in PRECISIONS} for _ in range(3))
    players = (Player(package, precision=precision) for precision in PRECISIONS)
    for t, played in enumerate(zip(*players, strict=True)):
        hr_HWC, (_, exact_HWC) = np.asarray(video.hr[t])[: video.height, : video.width], played[0]
        for precision, (_, rgb_HWC) in zip(PRECISIONS, played, strict=True):
            psnrs[precision].append(float(psnr(error(hr_HWC, rgb_HWC))))
            moved[precision].append(error(exact_HWC, rgb_HWC))
            furthest[precision].append(int(np.abs(rgb_HWC.astype(np.int16) - exact_HWC).max()))
    best = next(iter(psnrs.values()))
    for precision, frames in psnrs.items():
        worst = min(now - before for now, before in zip(frames, best, strict=True))
        row = (
            f"{fmean(frames):.3f}",
            f"{worst:+.3f}",
            f"{fmean(moved[precision]):.3f}",
            max(furthest[precision]),
        )
        tsv(run.parent.name, run.name, precision, *row)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--cache", help="where prepared videos lie, if not where the runs say")
    options = parser.parse_args()
    print(f"# {machine()}")
    tsv("video", "run", "precision", "psnr", "worst_frame", "moved_mse", "moved_most")
    for run in options.runs:
        compare(run, options.cache)


if __name__ == "__main__":
    main()
