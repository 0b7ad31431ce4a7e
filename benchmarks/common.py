"""What the benchmarks share: clips, clocks that know the machine is noisy, memory, a table."""

import argparse
import itertools
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from stdo.core.provenance import provenance
from stdo.core.types import U8, Frame
from stdo.video.reader import VideoFile
from stdo.video.resize import resize
from stdo.video.sample import open_video
from stdo.video.writer import VideoWriter


@dataclass(frozen=True)
class Spent:
    """Seconds of the clock, and of all this process's threads on the cores."""

    wall: float
    cpu: float


def spent(work: Callable[[], object]) -> Spent:
    """Do it once."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def median_spent(work: Callable[[], object], repeats: int) -> Spent:
    """Medians of ``repeats`` turns after one warm-up."""
    work()
    turns = [spent(work) for _ in range(repeats)]
    return Spent(statistics.median(t.wall for t in turns), statistics.median(t.cpu for t in turns))


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of ``work`` after one warm-up."""
    return median_spent(work, repeats).wall


def options(doc: str | None, **settings: object) -> argparse.Namespace:
    """Parse the command line: ``--quick`` and one option for each setting; a list takes several
    values."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less of everything")
    for name, default in settings.items():
        many = isinstance(default, list)
        kind = type(default[0] if many else default) if default is not None else str
        parser.add_argument(f"--{name}", type=kind, default=default, nargs="*" if many else None)
    return parser.parse_args()


def machine() -> str:
    """Processor, cores and versions, for the head of a table."""
    facts = provenance(sys.argv)
    processor, packages = facts["machine"], facts["packages"]
    return (
        f"{processor['processor']}, {processor['cores']} cores; "
        f"stdo {facts['stdo']} {(facts['commit'] or '')[:8]}, "
        f"torch {packages['torch']}, Lightning {packages['pytorch-lightning']}, "
        f"Python {facts['python']}"
    )


def peak_rss() -> int:
    """Peak resident memory of this process so far, in bytes; not ``ru_maxrss``, which begins at the
    parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


class Resident(threading.Thread):
    """Samples this process's resident memory while a block runs; ``peak`` in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._stop_event = threading.Event()

    def run(self) -> None:
        """Sample every 50 ms until the block ends."""
        while not self._stop_event.wait(0.05):
            pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
            self.peak = max(self.peak, pages * resource.getpagesize())

    def __enter__(self) -> "Resident":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        self.join()


def clip(video: str | None, height: int, frames: int, folder: Path) -> VideoFile:
    """A file of ``frames`` frames of ``height`` rows in x264 crf 20, made of a video (None: the
    sample clip).

    The video is resized as needed and played again where it is too short.
    """
    path = folder / f"{height}p-{frames}.mp4"
    if not path.exists():
        source = open_video(video)
        width = round(source.info.width * height / source.info.height / 2) * 2
        with VideoWriter(
            path, width, height, Fraction(25), "x264", crf=20, preset="veryfast"
        ) as writer:
            for t, frame_HWC in enumerate(itertools.islice(endless(source), frames)):
                same = frame_HWC.shape[:2] == (height, width)
                writer.write(
                    Frame(Fraction(t, 25), frame_HWC if same else resize(frame_HWC, height, width))
                )
    return VideoFile(path)


def endless(source: object) -> Iterator[U8]:
    """The frames of a source again and again."""
    for again in itertools.repeat(source):
        for frame in again:  # type: ignore[attr-defined]
            yield frame.rgb_HWC


def note(*words: object) -> None:
    """Say on the terminal what is being done, beside the table."""
    print(*words, file=sys.stderr, flush=True)


def tsv(*cells: object) -> None:
    """Print one row."""
    print(*cells, sep="\t", flush=True)
