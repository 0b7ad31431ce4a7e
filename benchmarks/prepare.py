"""Frames per second of preparing a video: decode, degrade, score (bicubic) and chunk; with peak memory.

    python benchmarks/prepare.py [video] [--frames 450] [--height 1080] [--scale 4]

Without a video, the sample clip. Frames beyond the video's length are made by playing it again.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from common import Resident, machine, tsv
from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score
from stdo.training.data import PatchSize
from stdo.types import Frame, FrameSource, VideoInfo
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.sample import open_video
from stdo.video.store import prepare


class Looped:
    """A video played again and again until it has ``frames`` frames."""

    def __init__(self, source: FrameSource, frames: int) -> None:
        self._source, self._frames = source, frames

    @property
    def info(self) -> VideoInfo:
        """The video's, with the new length."""
        return replace(self._source.info, frames=self._frames)

    def fingerprint(self) -> str:
        """Tells loops of different length apart."""
        return f"{self._source.fingerprint()}-{self._frames}"

    def __iter__(self) -> Iterator[Frame]:
        again = itertools.chain.from_iterable(itertools.repeat(self._source))
        for t, frame in enumerate(itertools.islice(again, self._frames)):
            yield Frame(Fraction(t, 25), frame.rgb_HWC)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?")
    parser.add_argument("--frames", type=int, default=450)
    parser.add_argument("--height", type=int)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--chunks", type=int, default=4)
    options = parser.parse_args()
    source = Looped(open_video(options.video, height=options.height), options.frames)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as cache, Resident() as resident:
        began = time.perf_counter()

        def stamped(items, total, label):  # noqa: ARG001
            start = time.perf_counter()
            yield from items
            seconds[label] = time.perf_counter() - start

        video = prepare(source, Path(cache), Degrade(options.scale), stamped)
        grid = PatchSize().grid(video.lr.shape[1], video.lr.shape[2], options.scale)
        scorer = ByPsnr(BicubicUpscaler(options.scale))
        scores = scorer.scores(video.lr, video.hr, grid, options.scale, stamped)
        start = time.perf_counter()
        by_score(scores, options.chunks)
        seconds["chunk"] = time.perf_counter() - start
        seconds["all"] = time.perf_counter() - began
    info = source.info
    print(f"# {machine()}; {info.name} {info.width}x{info.height}, {options.frames} frames, x{options.scale}")
    tsv("stage", "seconds", "frames_s")
    for stage, spent in seconds.items():
        tsv(stage, f"{spent:.2f}", f"{options.frames / max(spent, 1e-9):.1f}")
    print(f"# peak memory {resident.peak / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
