"""Long videos of a catalogue: split at cuts, encoded in parts, and joined into one package."""

import dataclasses
import os
import signal
from collections.abc import Generator
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from catalogues import TINY, catalogue, digests, start, statuses, worker_of
from tiny_package import add_sound

from stdo.cli.board import shown
from stdo.cli.forecast import Size, _parts
from stdo.cli.parts import _made, is_part_done, part_tasks, plan_of
from stdo.cli.splits import whole_videos
from stdo.cli.task import Task
from stdo.core.types import Frame
from stdo.package.container import Package
from stdo.player.client import Player
from stdo.runs.catalogue import Entry, Folder, Listing, Video, is_done, stamp
from stdo.runs.parts import Piece, Plan, folder_of, write_plan
from stdo.video.clip import Clip, PatchSize
from stdo.video.degrade import Degrade
from stdo.video.reader import VideoFile
from stdo.video.writer import VideoWriter

RATE = Fraction(25)
SCENES = (12, 9, 7)
"""Frames of each scene; cuts are 0.48 s and 0.84 s after the beginning."""


def film(path: Path) -> Path:
    """Three scenes of different colours that move, 64x48, with sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng, t = np.random.default_rng(0), 0
    with VideoWriter(path, 64, 48, RATE, "x264", crf=3) as writer:
        for colour, frames in zip(
            ((200, 60, 50), (60, 190, 80), (70, 80, 210)), SCENES, strict=True
        ):
            wide = np.clip(rng.normal(0, 25, (6, 14, 3)).repeat(8, 0).repeat(8, 1) + colour, 0, 255)
            for step in range(frames):
                writer.write(Frame(t / RATE, wide[:, step : step + 64].astype(np.uint8)))
                t += 1
    add_sound(path, sum(SCENES) / 25)
    return path


def task_of(folder: Path, **changes: object) -> Task:
    video = folder / "film.mp4"
    if not video.exists():
        video.write_bytes(b"1")
    settings = {
        "video": {"path": None, "start": 2.5, "duration": 9.0},
        "paths": {"cache": "/c", "outputs": "/o"},
    }
    words = ("backbone=espcn", "video.start=2.5", "video.duration=9.0")
    task = Task(str(folder), "film", str(video), "r", settings, words, split=1.0)
    return dataclasses.replace(task, **changes)  # type: ignore[arg-type]


def planned(task: Task, pieces: int = 3) -> Plan:
    size, mtime = stamp(Path(task.video))
    parts = [Piece(10 * n, 10, 2.5 + 0.4 * n) for n in range(pieces)]
    plan = Plan(
        recipe="r", size=size, mtime=mtime, split=1.0, rate="25", pts=None, last=None, pieces=parts
    )  # fmt: skip
    write_plan(folder_of(Folder(Path(task.out)), task.key), plan)
    return plan


def finish(part: Task) -> None:
    """What a job leaves of a part that is done."""
    folder = Folder(Path(part.out))
    folder.package(part.key).write_bytes(b"123")
    size, mtime = stamp(Path(part.video))
    entry = Entry(video=part.video, recipe=part.recipe, size=size, mtime=mtime, forced=part.forced)
    entry.state, entry.bytes, entry.psnr = "done", 3, 30.0
    folder.write(part.key, entry)


def test_a_plan_is_of_one_content_recipe_and_length(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    assert plan_of(task) is None
    plan = planned(task)
    assert plan_of(task) == plan and plan.frames == 30
    assert plan.times()[29] == Fraction(29, 25)
    assert plan_of(dataclasses.replace(task, recipe="other")) is None
    assert plan_of(dataclasses.replace(task, split=2.0)) is None
    (tmp_path / "parts" / "film" / "plan.json").write_text("{")
    assert plan_of(task) is None, "damaged: it is made again"
    planned(task)
    Path(task.video).write_bytes(b"22")
    assert plan_of(task) is None


def test_a_part_is_a_job_of_its_own(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    first, second, third = part_tasks(task, planned(task))
    assert (second.key, second.name, second.split) == ("0002", "film 2/3", None)
    assert second.settings["video"] == {
        "path": None, "start": 2.9, "duration": None, "max_frames": 10,
    }  # fmt: skip
    assert second.command()[1:4] == ["backbone=espcn", "video.start=2.9", "video.max_frames=10"]
    assert len({each.recipe for each in (task, first, second, third)}) == 4
    assert len({each.cache for each in (task, first, second, third)}) == 4
    shared = part_tasks(dataclasses.replace(task, own_cache=False), planned(task))
    assert {each.cache for each in shared} == {"/c"}
    finish(first)
    assert is_part_done(first) and not is_part_done(second)
    assert not is_part_done(dataclasses.replace(first, forced="now"))


def ended(task: Task, outcomes: dict[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Run a video with an engine whose jobs end as told; what came of videos, and all jobs."""
    waiting, ran = [task], list[str]()

    def engine() -> Generator[tuple[Task, str]]:
        while waiting:
            each = waiting.pop(0)
            ran.append(each.name + (" joined" if each.joining else ""))
            outcome = "done" if each.joining else outcomes.get(each.name, "done")
            if each.part and outcome == "done":
                finish(each)
            yield each, outcome

    return [(each.name, outcome) for each, outcome in whole_videos(engine(), waiting)], ran


def test_parts_come_first_and_the_last_one_has_the_video_joined(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    finish(part_tasks(task, planned(task))[1])
    found, ran = ended(task, {"film": "split"})
    assert found == [("film", "done")]
    assert ran == ["film", "film 1/3", "film 3/3", "film joined"], "what is done is left alone"


def test_a_part_that_fails_is_listed_and_nothing_is_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = task_of(tmp_path)
    planned(task)
    found, ran = ended(task, {"film": "split", "film 2/3": "was killed, 3 times"})
    assert found == [("film", "failed")] and ran[-1] == "film 3/3"
    entry = Folder(tmp_path).read("film")
    assert entry is not None and entry.state == "failed"
    assert entry.error == f"part 2/3: {task.video}: was killed, 3 times"
    assert "film 2/3: failed: " in capsys.readouterr().err
    assert ended(task, {"film": "split", "film 2/3": "busy"})[0] == [("film", "busy")]
    found, ran = ended(task, {"film": "split"})
    assert (found, ran) == ([("film", "done")], ["film", "film 2/3", "film joined"])


def test_what_is_done_depends_on_the_length_of_parts(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    (tmp_path / "film.stdo").write_bytes(b"123")
    size, mtime = stamp(Path(task.video))
    entry = Entry(video=task.video, recipe="r", size=size, mtime=mtime, state="done", bytes=3)
    entry.length = 90.0

    def done(split: float | None) -> bool:
        return is_done(entry, Path(task.video), "r", tmp_path / "film.stdo", split)

    assert [done(split) for split in (None, 100.0, 90.0, 60.0)] == [True, True, True, False]
    entry.parts, entry.split = 2, 60.0
    assert [done(split) for split in (None, 100.0, 60.0, 30.0)] == [False, False, True, False]
    entry.length, entry.split = 0.0, None
    assert done(60.0), "made before videos were split"


def test_the_screen_shows_parts_while_they_are_encoded(tmp_path: Path) -> None:
    task, folder = task_of(tmp_path), Folder(tmp_path)
    parts = part_tasks(task, planned(task))
    finish(parts[0])
    inside = Folder(Path(parts[0].out))
    inside.write("0002", Entry(video=task.video, recipe="r", state="training", step=3, steps=9))
    folder.write("film", Entry(video=task.video, recipe="r", state="parts", parts=3))
    folder.write_listing(Listing([Video("film", task.video)], [], "r"))
    with inside.at_video("0002"):
        screen = shown(folder, folder.listing()).splitlines()
    assert [line.split()[:3] for line in screen[:4]] == [
        ["film", "parts", "3"], ["film", "1/3", "done"], ["film", "2/3", "training"],
        ["film", "3/3", "queued"],
    ]  # fmt: skip
    assert screen[-1] == "1 video: 0 done, 1 at work"
    assert shown(folder, folder.listing()).startswith("film  queued       1 of 3 parts are done\n")


def test_a_plan_of_the_cost_counts_parts() -> None:
    size = Size(frames=9000, pixels=9000, patches=900, seconds=360.0, prepared=80, chunks=72)
    assert _parts(size, None) == [size] == _parts(size, 360.0)
    parts = _parts(size, 60.0)
    assert len(parts) == 8 and all(part.is_part and part.chunks == 9 for part in parts)
    assert sum(part.seconds for part in parts) == 360


WORDS = [*TINY, "budget.passes=20", "split.seconds=0.6", "workers=1", "weights.bits=8"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film that is encoded in parts, undisturbed."""
    folder = tmp_path_factory.mktemp("parts")
    film(folder / "films" / "film.mp4")
    code, out, err = catalogue(folder, *WORDS)
    assert code == 0 and "1 video: 1 done" in out, err
    assert "film: 3 parts, 0 of them done" in err and "film 3/3: " in err
    return folder


@pytest.mark.slow
def test_the_package_plays_as_the_whole_video(made: Path) -> None:
    package = Package.open(made / "made" / "film.stdo")
    assert [part.first for part in package.manifest.sections] == [0, 12, 21], "where the cuts are"
    found = list(Player(package, threads=1))
    film_frames = list(VideoFile(made / "films" / "film.mp4"))
    assert [time for time, _ in found] == [frame.pts for frame in film_frames]
    parts = sorted((made / "made" / "parts" / "film").glob("*.stdo"))
    own = [rgb_HWC for path in parts for _, rgb_HWC in Player(path, threads=1)]
    for (_, rgb_HWC), wanted in zip(found, own, strict=True):
        assert np.abs(rgb_HWC.astype(int) - wanted).max() <= 1
    errors = [
        np.square(rgb_HWC.astype(float) - frame.rgb_HWC).mean()
        for (_, rgb_HWC), frame in zip(found, film_frames, strict=True)
    ]
    quality = package.manifest.quality
    assert quality is not None
    psnr = 10 * np.log10(255**2 / np.array(errors))
    assert quality.psnr.frame == pytest.approx(psnr.mean(), abs=0.01)
    assert quality.psnr.pooled == pytest.approx(10 * np.log10(255**2 / np.mean(errors)), abs=0.01)
    status = statuses(made / "made")["film"]
    assert (status["state"], status["parts"], status["split"]) == ("done", 3, 0.6)
    assert status["length"] == pytest.approx(28 / 25)
    code, _, err = catalogue(made, *WORDS)
    assert (code, "1 of 1 video left as they are" in err) == (0, True)
    assert not list((made / "made" / "cache").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
def test_killed_in_the_middle_it_ends_with_the_same_bytes(whole: bool, made: Path) -> None:
    out = f"killed-{whole}"
    process = start(made, *WORDS, f"out={out}")
    for key in ("0001", "0002"):
        worker = worker_of(made / out / "parts" / "film", key)
    os.kill(process.pid if whole else worker, signal.SIGKILL)
    process.communicate(timeout=400)
    if whole:
        os.kill(worker, signal.SIGKILL)
        assert not (made / out / "film.stdo").exists()
        code, _, err = catalogue(made, *WORDS, f"out={out}")
        assert code == 0 and "film: 3 parts, 1 of them done" in err
    assert digests(made / out) == digests(made / "made")


@pytest.mark.slow
def test_a_failed_part_is_tried_again_alone(made: Path) -> None:
    blocked = made / "failed" / "parts" / "film" / "0002.stdo"
    blocked.mkdir(parents=True)
    (blocked / "in the way").touch()
    code, out, err = catalogue(made, *WORDS, "out=failed")
    assert code == 1 and "1 video: 0 done, 1 failed" in out, err
    assert "failed: film: " in out and "part 2/3: " in out and out.count("\n") == 2
    assert not (made / "failed" / "film.stdo").exists()
    (blocked / "in the way").unlink()
    blocked.rmdir()
    first = sha256((blocked.parent / "0001.stdo").read_bytes()).hexdigest()
    code, out, err = catalogue(made, "out=failed", "retry")
    assert code == 0 and "film: 3 parts, 2 of them done" in err, err
    assert sha256((blocked.parent / "0001.stdo").read_bytes()).hexdigest() == first
    assert digests(made / "failed") == digests(made / "made")


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "x264"), ("ts", "x264"), ("avi", "ffv1")])
def test_parts_are_the_frames_of_the_video(ending: str, codec: str, tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4")
    path = tmp_path / f"one.{ending}"
    with VideoWriter(path, 64, 48, RATE, codec) as writer:
        for frame in VideoFile(source):
            writer.write(frame)
    span = {"start": 0.1, "duration": 0.95, "every": 2, "max_frames": None, "height": None}
    settings = {"video": {"path": None} | span}
    task = task_of(tmp_path, video=str(path), settings=settings, split=0.5)
    whole = VideoFile(path, **span)
    assert whole.length() is None or float(whole.length()) == pytest.approx(0.96, abs=0.05)
    plan = _made(task, Clip(whole, Degrade(2), PatchSize(12, 16)))
    frames = list(whole)
    assert plan.frames == len(frames) == 12 and plan.times() == [frame.pts for frame in frames]
    assert [piece.first for piece in plan.pieces] == [0, 5, 9], "the cuts are at 0.48 and 0.84 s"
    found = [
        frame
        for piece in plan.pieces
        for frame in VideoFile(path, piece.start, max_frames=piece.frames, every=2)
    ]
    for ours, wanted in zip(found, frames, strict=True):
        assert np.array_equal(ours.rgb_HWC, wanted.rgb_HWC)
