"""Many harmed packages through players in processes of their own, and what became of each.

``python tests/stress/package_fuzz.py 100000`` plays so many, ``20000:40000`` those numbers; 1 where
any failed.
"""

import io
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

if __name__ == "__main__":
    here = Path(__file__).parents[1]
    sys.path[:0] = [str(here / folder) for folder in ("package", "stress")]

from package_mutations import Mutation, mutation

LIMIT = 120.0
"""Seconds of a core after which a package that neither plays nor is refused counts as a hang."""
WAITS = 10 * LIMIT
"""Seconds by the clock after which it does, however busy the machine is."""
TARGETS = (
    ("out.mp4",),
    ("out.mp4",),
    ("out.mkv", "--start", "0.07"),
    ("out", "--frames", "png"),
    ("out.mp4", "--duration", "0.05"),
)


@dataclass
class Report:
    """Counts by member and outcome, and everything that must not be. seconds: the longest. peak:
    bytes at most."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak: int = 0

    def table(self) -> str:
        """Lines of: member, tried, refused, identical, other frames (mended alone), failed."""
        outcomes = ("refused", "identical", "other", "failed")
        members = sorted({member for member, _ in self.counts})
        rows = [(name, *(self.counts[name, each] for each in outcomes)) for name in members]
        rows.append(
            ("all", *(sum(column) for column in zip(*(row[1:] for row in rows), strict=True)))
        )
        head = f"{'':<22}{'tried':>8}" + "".join(f"{each:>10}" for each in outcomes)
        lines = [
            f"{name:<22}{sum(row):>8}" + "".join(f"{each:>10}" for each in row)
            for name, *row in rows
        ]
        return "\n".join(
            [head, *lines, f"slowest {self.seconds:.1f} s, peak memory {self.peak >> 20} MiB"]
        )


class Player:
    """One process that plays, started anew when a package has killed it. folder: all that it may
    write to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("in", "out", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "secret.bin").write_bytes(b"\x11\x22\x33\x44" * 3)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(Path(__file__).with_name("package_worker.py"))]
        own = {
            "TMPDIR": str(self.folder / "tmp"),
            "HOME": str(self.folder / "tmp"),
            "OMP_NUM_THREADS": "1",
        }
        paths = os.pathsep.join(str(Path(each).absolute()) for each in sys.path if each)
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(self.folder / "stderr").open("a"), text=True, cwd=self.folder,
            env=os.environ | own | {"PYTHONPATH": paths},
        )  # fmt: skip

    def play(
        self,
        name: str,
        content: bytes | dict[str, bytes | None],
        arguments: Iterable[str],
        digest: bool,
    ) -> Any:
        """What the process answers, or in words how it ended."""
        package = self.folder / "in" / name
        _write(package, content)
        target, *options = arguments
        task = {
            "package": str(package),
            "arguments": [str(self.folder / "out" / target), *options],
            "digest": digest,
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        ready = self._answers()
        line = self._process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        if not ready:
            self._process.kill()
        code = self._process.wait(WAITS)
        self._process = self._start()
        return f"ended the process with {code}" if ready else f"hung for {LIMIT:g} s"

    def _answers(self) -> bool:
        """Wait until the process answers or ends. Returns whether it did before it counts as
        hanging."""
        watched, began = psutil.Process(self._process.pid), time.monotonic()
        spent = sum(watched.cpu_times()[:2])
        while not select.select([self._process.stdout], [], [], 5)[0]:
            if time.monotonic() - began > WAITS or sum(watched.cpu_times()[:2]) - spent > LIMIT:
                return False
        return True

    def restart(self) -> None:
        """Begin anew with an empty heap, as every player of a user's does."""
        self.close()
        self._process = self._start()

    def left(self) -> list[str]:
        """What lies in the folder, the package and what is known left out; the output folder is
        emptied."""
        known = {"in", "out", "tmp", "secret.bin", "stderr"}
        found = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*")]
        for path in (self.folder / "in").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (self.folder / "out").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return sorted(path for path in found if path not in known and not path.startswith("in/"))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _write(path: Path, content: bytes | dict[str, bytes | None]) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    path.mkdir()
    for name, data in content.items():
        if data is None:
            (path / name).symlink_to("/dev/zero" if len(content) % 2 else "nowhere")
        else:
            (path / name).write_bytes(data)


def fuzz(
    seeds: Iterable[int],
    packages: dict[str, Path],
    folder: Path,
    workers: int = 1,
    total: int | None = None,
) -> Report:
    """Play the mutation of each seed. packages: sound ones. folder: for everything that is written.
    total: how many seeds there are, for the progress on stderr; None: none is shown."""
    contents = {name: path.read_bytes() for name, path in packages.items()}
    report, lock, left = Report(), threading.Lock(), iter(seeds)
    sound = _sound(contents, folder)
    bar = tqdm(total=total, unit=" packages", disable=total is None, mininterval=1)

    def taken() -> Iterator[int]:
        while True:
            with lock:
                seed = next(left, None)
            if seed is None:
                return
            yield seed

    def work(number: int) -> None:
        player = Player(folder / f"player-{number}")
        try:
            for seed in taken():
                began = time.monotonic()
                try:
                    name, harmed = mutation(seed, contents)
                except Exception as error:  # else it would show only when all others are done
                    with lock:
                        report.failures.append(f"seed {seed}: no package was made: {error!r}")
                        bar.write(report.failures[-1], file=sys.stderr)
                    continue
                outcome, why, peak = judge(player, seed, harmed, sound[name])
                with lock:
                    bar.update()
                    report.counts[harmed.member, outcome] += 1
                    report.seconds = max(report.seconds, time.monotonic() - began)
                    report.peak = max(report.peak, peak)
                    if outcome == "failed":
                        report.failures.append(
                            f"seed {seed}, {name}, {harmed.member} ({harmed.what:.80}): {why}"
                        )
                        bar.write(report.failures[-1], file=sys.stderr)
                        bar.set_postfix(failed=len(report.failures))
        finally:
            player.close()

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    bar.close()
    return report


def numbers(asked: str) -> range:
    """``100`` is the first hundred, ``100:200`` the second."""
    first, _, last = asked.rpartition(":")
    return range(int(first or 0), int(last))


def main(asked: str) -> int:
    """Play the mutations of some numbers on all cores, with progress, and print the counts."""
    from package_specimens import make_all

    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound"
        sound.mkdir()
        wanted, began = numbers(asked), time.monotonic()
        report = fuzz(
            wanted, make_all(sound), Path(folder), len(os.sched_getaffinity(0)), len(wanted)
        )
    print(report.table())
    print(f"{len(wanted)} mutations in {time.monotonic() - began:.0f} s")
    print("\n".join(report.failures))
    return 1 if report.failures else 0


def judge(player: Player, seed: int, harmed: Mutation, sound: str) -> tuple[str, str, int]:
    """Play one mutation: ``refused``, ``identical``, ``other`` or ``failed``, why it failed, and
    the peak of memory. What fails is played again in a new process before it counts: thousands of
    packages before it leave something on the heap."""
    found = _judged(player, seed, harmed, sound)
    if found[0] != "failed":
        return found
    player.restart()
    return _judged(player, seed, harmed, sound)


def _judged(player: Player, seed: int, harmed: Mutation, sound: str) -> tuple[str, str, int]:
    arguments = TARGETS[seed % len(TARGETS)]
    answer = player.play("bad.stdo", harmed.content, arguments, digest=True)
    left = player.left()
    if isinstance(answer, str):
        return "failed", answer, 0
    package = player.folder / "in" / "bad.stdo"
    outcome, why = _outcome(answer, left, arguments[0], str(package))
    if outcome == "played":
        outcome = "identical" if answer["frames"] == sound else "other"
        if outcome == "other" and not harmed.mended:
            outcome, why = "failed", "plays other frames though its digests are wrong"
    if answer["peak"] > allowed(harmed.content):
        outcome, why = "failed", f"took {answer['peak'] >> 20} MiB"
    return outcome, why, answer["peak"]


def allowed(content: bytes | dict[str, bytes | None]) -> int:
    """Bytes that a player may take for it: as the documents promise, more for frames beyond 4K."""
    pixels = 0
    if isinstance(content, bytes):
        with suppress(Exception), zipfile.ZipFile(io.BytesIO(content)) as archive:
            source = json.loads(archive.read("manifest.json"))["source"]
            pixels = min(int(source["width"]) * int(source["height"]), 2**25)
    return (1 << 30) + 32 * max(0, pixels - 4096 * 2160)


def _outcome(answer: dict[str, Any], left: list[str], target: str, package: str) -> tuple[str, str]:
    said = answer["said"]
    if answer["code"] == 0:
        stray = [path for path in left if not path.startswith(f"out/{target}")]
        good = not said and not stray and f"out/{target}" in left
        return ("played", "") if good else ("failed", f"played, but said {said!r} and left {left}")
    if answer["code"] != 2:
        return "failed", f"{answer['code']}; {said[-300:]!r}"
    one_line = (
        said.endswith("\n") and len(said.splitlines()) == 1 and len(said) < len(package) + 600
    )
    if not one_line or not said.startswith("stdo: "):
        return "failed", f"said {said!r:.600}"
    return ("refused", "") if not left else ("failed", f"left {left}")


def _sound(contents: dict[str, bytes], folder: Path) -> dict[str, str]:
    """The frames of the packages before any harm."""
    player = Player(folder / "sound")
    found = {}
    try:
        for name, content in contents.items():
            answer = player.play("good.stdo", content, ("out.mp4",), digest=True)
            assert answer["code"] == 0 and not answer["said"], answer
            found[name] = answer["frames"]
            player.left()
    finally:
        player.close()
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
