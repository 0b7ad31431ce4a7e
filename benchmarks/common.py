"""What the benchmarks share: a clip, a clock that knows the machine is noisy, peak memory, a table."""

import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from stdo.provenance import provenance


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of ``work`` after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def machine() -> str:
    """Processor and cores, for the head of a table."""
    facts = provenance(sys.argv)["machine"]
    return f"{facts['processor']}, {facts['cores']} cores"


def peak_rss() -> int:
    """Peak resident memory of this process so far, in bytes (kernel's own count)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Resident(threading.Thread):
    """Samples this process's resident memory while a block runs; ``peak`` in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._stop_event = threading.Event()

    def run(self) -> None:
        """Sample every 50 ms until the block ends."""
        while not self._stop_event.wait(0.05):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.peak = max(self.peak, pages * resource.getpagesize())

    def __enter__(self) -> "Resident":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        self.join()


def tsv(*cells: object) -> None:
    """Print one row."""
    print(*cells, sep="\t", flush=True)
