"""Many videos by one recipe: what is there is not made again, what dies is started again, and the
packages are the same whatever engine made them."""

import dataclasses
import fcntl
import importlib.util
import json
import os
import re
import sys
import threading
from collections.abc import Generator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from catalogues import TINY, catalogue, statuses
from msgspec.structs import replace
from tiny_job import tiny_clip

import stdo.cli.catalogue as catalogue_module
from stdo.cli.board import shown
from stdo.cli.catalogue import _left, _readable, _recipe, _run, rewritten
from stdo.cli.task import Task
from stdo.cli.videos import find_videos, of_shard
from stdo.core.types import UserError
from stdo.runs.catalogue import (
    Entry,
    Folder,
    Listing,
    State,
    Video,
    called,
    is_done,
    keys_of,
    stamp,
)

ODD = "é b=[1], (2)"
"""A name as people type them."""


def test_a_catalogue_ends_with_a_package_or_a_line_for_each_video(tmp_path: Path) -> None:
    tiny_clip(tmp_path / "films" / f"{ODD}.mkv")
    (tmp_path / "films" / "broken.mp4").write_bytes(b"no video")
    code, out, err = catalogue(tmp_path, *TINY, "workers=2")
    assert code == 1, err
    made = tmp_path / "made"
    assert sorted(path.name for path in made.glob("*.stdo")) == ["é_b_1_2_.stdo"]
    assert re.search(r"^failed: broken: .*not a video that FFmpeg can read", out, re.MULTILINE)
    assert re.search(r"^2 videos: 1 done, 1 failed; 0\.\d+ MB, mean \d+\.\d+ dB", out, re.MULTILINE)
    assert not list((made / "cache").iterdir()), "prepared videos take much room"
    found = statuses(made)
    assert found["broken"]["state"] == "failed" and found["é_b_1_2_"]["state"] == "done"
    assert found["é_b_1_2_"]["bytes"] == (made / "é_b_1_2_.stdo").stat().st_size
    screen = shown(Folder(made), Folder(made).listing())
    assert re.search(r"^é_b_1_2_  done         \d+\.\d+ dB +[\d,]+ bytes  \d+ s$", screen, re.M)

    first = {path.name: path.stat().st_mtime_ns for path in made.glob("*.stdo")}
    (tmp_path / "films" / "broken.mp4").unlink()
    (made / "status" / "é_b_1_2_.json").write_text("{")
    code, out, err = catalogue(tmp_path, "out=made", "retry")
    assert code == 0, "retry takes what failed alone, and nothing of it is there now"
    assert "status/é_b_1_2_.json: damaged" in err and "is looked at again" in err
    assert {path.name: path.stat().st_mtime_ns for path in made.glob("*.stdo")} == first
    assert "é_b_1_2_  queued       " in shown(Folder(made), Folder(made).listing())


MISTAKES = [
    (["videos=nowhere"], "videos=nowhere: no such file or folder"),
    (["videos=empty"], "videos=empty: holds no video"),
    ([], "videos: must be given: a folder, a list (.txt) or a pattern"),
    (["videos=films", "shard=3/2"], "shard=3/2: must be from 1/2 to 2/2"),
    (["videos=films", "deliver=false"], "deliver=false: must be true in a catalogue"),
    (["videos=films", "resources.gpus=1"], "resources.gpus=1: must be 0 with engine=local"),
    (["videos=films", "paths.cache_limit=9"], "paths.cache_limit=9: needs paths.cache=…"),
    (["out=films", "status"], "out=films: holds no catalogue (no catalogue.json in it)"),
]
MORE_MISTAKES = [
    (["videos=films/*.avi"], "videos=films/*.avi: holds no video"),
    (["videos=films", "shard=0/2"], "shard=0/2: must be a shard such as 3/64, or null"),
    (["videos=films", "video.path=a.mkv"], "video.path=a.mkv: must be left out of a catalogue"),
    (["videos=films", "video=folder"], "video=folder: must be file in a catalogue"),
    (["videos=films", "slurm.minutes=9"], "slurm.minutes=9: needs engine=slurm"),
    (["videos=films", "trainer=ddp"], "trainer.devices=auto: must be 1 in a catalogue"),
    (["videos=films", "trainer.num_nodes=2"], "trainer.num_nodes=2: must be 1 in a catalogue"),
    (["videos=films", "engine=pigeons"], "engine=pigeons: must be one of local, ray, slurm"),
    (["videos=films", "backbone.width=7"], "backbone.width=7: must be "),
    (["-m", "videos=films", "seed=0,1"], "-m: only stdo.train sweeps"),
]


@pytest.mark.parametrize(
    ("words", "line"),
    [*MISTAKES, *(pytest.param(*each, marks=pytest.mark.slow) for each in MORE_MISTAKES)],
)
def test_a_mistake_is_one_line_before_the_work(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from hydra.core.global_hydra import GlobalHydra

    from stdo.cli.catalogue import main

    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mkv").write_bytes(b"never read")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["catalogue.py", *words])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"stdo: {line}")
    assert not list(tmp_path.glob("*/status"))


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_that_is_not_installed_is_one_line(
    engine: str, package: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(package) is not None:
        pytest.skip("it is installed")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mkv").write_bytes(b"never read")
    code, _, err = catalogue(tmp_path, *TINY, f"engine={engine}")
    assert code == 2
    assert err == (
        f"stdo: engine={engine}: needs the package {package}; pip install 'stdo[train,cluster]'\n"
    )


def test_two_catalogues_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mkv").write_bytes(b"never read")
    folder = Folder(tmp_path / "made")
    with folder.claimed(None):
        code, _, err = catalogue(tmp_path, *TINY)
    assert code == 2
    assert re.fullmatch(
        rf"stdo: .*made: this catalogue is being encoded by process {os.getpid()} on .*\n", err
    )
    with folder.claimed("1/2"), folder.claimed("2/2"):
        pass


def test_a_recipe_is_the_same_for_equal_runs() -> None:
    plain = {"trainer": {"devices": 1}, "budget": {"validate_every": None}, "weights": {"bits": 8}}
    first = _recipe(plain)
    assert _recipe(plain | {"trainer": {"devices": 1, "max_steps": None}}) == first
    watched = plain | {"budget": {"validate_every": 9}}
    assert _recipe(watched) == first
    callbacks: dict[str, Any] = {"callbacks": {"mine": {"patience": 3}}}
    assert len({first, _recipe(plain | callbacks), _recipe(watched | callbacks)}) == 3
    assert _recipe(plain | {"weights": {"bits": 4}}) != first


def test_which_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films = tmp_path / "films"
    names = ["b.mp4", "A.MKV", ".hidden.mp4", "notes.txt", "x [1].webm", "# one.mp4"]
    films.mkdir()
    for name in names:
        (films / name).touch()
    (films / "folder.mp4").mkdir()
    inside = [films / name for name in ("# one.mp4", "A.MKV", "b.mp4", "x [1].webm")]
    assert find_videos(str(films)) == inside
    assert find_videos(str(films / "?.mp4")) == [films / "b.mp4"]
    assert find_videos(str(films / "x [1].webm")) == [films / "x [1].webm"], "a name, no pattern"
    (tmp_path / "link.mp4").symlink_to(films / "b.mp4")
    listed = ["\ufefffilms/b.mp4\r", "", "# a comment", "  films/A.MKV  ", "link.mp4", "gone.mkv"]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    expected = [films / "b.mp4", films / "A.MKV", tmp_path / "gone.mkv"]
    assert find_videos(str(tmp_path / "list.txt")) == expected
    assert "link.mp4: is the same video as " in capsys.readouterr().err
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(UserError, match=r"empty.txt: holds no video$"):
        find_videos(str(tmp_path / "empty.txt"))
    (tmp_path / "binary.txt").write_bytes(b"a\0b")
    with pytest.raises(UserError, match=r"is no list of paths, one in each line$"):
        find_videos(str(tmp_path / "binary.txt"))


def test_shards_are_all_videos_each_once() -> None:
    items = list(range(17))
    parts = [of_shard(items, f"{which}/5") for which in range(1, 6)]
    assert sorted(chain.from_iterable(parts)) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_names_of_files_are_unique_and_stay_the_same() -> None:
    paths = ["a/one.mp4", "b/ONE.mkv", "a/two.mp4", "a/..mp4", "a/\udcff.mp4", f"a/{'ü' * 99}.mkv"]
    keys = keys_of([Path(path) for path in paths])
    assert len(set(keys)) == len(paths)
    assert keys[2] == "two" and keys[0].startswith("one-") and keys[1].startswith("ONE-")
    assert keys == keys_of([Path(path) for path in paths])
    for key in keys:
        assert re.fullmatch(r"[\w-][\w.-]*", key) and len(key.encode()) <= 80


def test_a_name_once_given_stays_with_its_video(tmp_path: Path) -> None:
    one, other, odd = Path("/x/a.mkv"), Path("/y/A.mp4"), Path("/x/\udcff.mkv")
    assert keys_of([one, other], [Video("a", "/x/a.mkv")])[0] == "a"
    assert keys_of([other], [Video("a", "/x/a.mkv")])[0].startswith("A-")
    first = keys_of([one, other, odd, Path("/x/\udcfe.mkv")])
    folder = Folder(tmp_path)
    now, former = [Video(first[0], called(one)), Video(first[2], called(odd))], first[1]
    folder.write_listing(Listing(now, [], "r", [Video(former, called(other))]))
    assert keys_of([other, one, odd], folder.known()) == [first[1], first[0], first[2]]
    assert len({*first, *keys_of([Path("/z/a.mkv")], folder.known())}) == 5
    twice = [Video("a", "/x/a.mkv"), Video("A", "/y/A.mp4")]  # damaged, or from a stranger
    assert len({key.casefold() for key in keys_of([one, other], twice)}) == 2


def test_names_are_found_in_status_files_where_the_list_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path)
    assert folder.known() == []
    folder.write("film", Entry(video="/x/a.mkv", recipe="r"))
    assert folder.known() == [Video("film", "/x/a.mkv")]
    (tmp_path / "catalogue.json").write_text("{")
    (tmp_path / "status" / "b.json").write_text("{")
    assert keys_of([Path("/x/a.mkv")], folder.known()) == ["film"]
    assert (
        "catalogue.json: damaged (it is not JSON); it is written again" in capsys.readouterr().err
    )


def test_what_is_written_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path)
    folder.write("a", Entry(video="v", recipe="r", error="\U0001f600" * 70_000, run="/\udce9"))
    found = folder.read("a")
    assert found is not None and found.run == "/?" and found.error is not None
    words = [f"videos={'/x' * 2000}", "name=é"]
    folder.write_listing(Listing([Video("a", "v")], words, "r"))
    assert folder.listing().words == words
    with pytest.raises(UserError, match=r"catalogue.json: words=.*: must be a list"):
        folder.write_listing(Listing([], words * 501, "r"))
    assert folder.listing().words == words
    folder.write_listing(Listing([], [_readable("videos=/\udce9")], "r"))
    with pytest.raises(UserError, match=r"made with videos \(a value that is not UTF-8\), which"):
        rewritten([f"out={tmp_path}", "retry"])
    assert shown(folder, folder.listing()) == "0 videos: 0 done\n"


def test_no_text_of_a_file_steers_the_terminal(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (tmp_path / "status").mkdir()
    evil = {"video": "v", "recipe": "r", "state": "failed", "error": "\x1b]0;owned\x07\n\u202e"}
    (tmp_path / "status" / "a.json").write_text(json.dumps(evil))
    folder.write_listing(Listing([Video("a", "v")], [], "r"))
    assert shown(folder, folder.listing()).startswith("a  failed       ?]0;owned???\n")
    text = (tmp_path / "catalogue.json").read_text().replace('"a"', '"a\\u001b[2J"')
    (tmp_path / "catalogue.json").write_text(text)
    with pytest.raises(UserError, match="must be a text of 1 to 100 characters that matches"):
        folder.listing()


def test_what_is_done(tmp_path: Path) -> None:
    video, package = tmp_path / "a.mkv", tmp_path / "a.stdo"
    video.write_bytes(b"12")
    package.write_bytes(b"123")
    size, mtime = stamp(video)
    entry = Entry(
        video=str(video), recipe="r", size=size, mtime=mtime, state="done", bytes=3
    )  # fmt: skip
    folder = Folder(tmp_path)
    folder.write("a", entry)
    assert folder.read("a") == entry and folder.read("b") is None
    assert is_done(entry, video, "r", package)
    assert not is_done(entry, video, "other", package)
    assert not is_done(None, video, "r", package)
    os.utime(video, ns=(0, mtime - 1))  # a clock that jumps makes no video older than it is
    assert not is_done(entry, video, "r", package)
    os.utime(video, ns=(0, mtime))
    package.write_bytes(b"12")
    assert not is_done(entry, video, "r", package)
    package.unlink()
    assert not is_done(entry, video, "r", package)


def test_the_status_of_a_video_that_a_process_is_at_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"1")
    task, folder = Task(str(tmp_path), "a", str(tmp_path / "a.mkv"), "r", {}), Folder(tmp_path)
    entry = Entry(video=task.video, recipe="r", state="training", step=7, seconds=9.0, attempts=1)
    folder.write("a", entry)
    with folder.at_video("a"):
        assert _left(folder, [task], False) == ({}, [task]) and folder.read("a") == entry
        lock = (tmp_path / "status" / ".a.lock").open("r+b")
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # another one who asks
        assert not folder.is_worked_on("a")
        threading.Timer(0.2, fcntl.flock, (lock, fcntl.LOCK_UN)).start()
        with folder.at_video("a"):
            assert folder.is_worked_on("a")
    assert _left(folder, [task], False) == ({}, [task])
    queued = folder.read("a")
    assert queued is not None and (queued.state, queued.seconds, queued.step) == ("queued", 9.0, 7)
    folder.write("a", replace(queued, state="done"))
    _left(folder, [dataclasses.replace(task, forced="now")], False)
    anew = folder.read("a")
    assert anew is not None and (anew.state, anew.seconds, anew.attempts) == ("queued", 0.0, 0)


def test_what_an_engine_says_is_done_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path)
    tasks = [Task(str(tmp_path), key, str(tmp_path / key), "r", {}) for key in "abc"]
    for each in tasks:
        Path(each.video).write_bytes(b"1")

    class Late:
        """A cluster whose disk shows status files a second later."""

        def run(self, tasks: list[Task]) -> Generator[tuple[Task, str]]:
            states: dict[str, State] = {"a": "done", "b": "failed"}
            for each in tasks[:2]:
                entry = Entry(video=each.video, recipe="r", state=states[each.key], error="why")
                threading.Timer(1, folder.write, (each.key, entry)).start()
                yield each, entry.state
            yield tasks[2], "its process was killed (SIGKILL), 3 times"

    monkeypatch.setattr(catalogue_module, "engine_of", lambda *_: Late())
    assert _run(folder, tasks, {"action": "run"}, 1)
    out, err = capsys.readouterr()
    assert "[1/3] a: done; its status file comes late" in err
    assert "[2/3] b: failed; its status file comes late" in err
    assert "failed: b: why\nfailed: c: " in out and "3 videos: 1 done, 2 failed" in out


def test_whatever_stops_the_loop_stops_the_workers_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"1")
    stopped = []

    class Watched:
        def run(self, tasks: list[Task]) -> Generator[tuple[Task, str]]:
            try:
                yield tasks[0], "done"
            finally:
                stopped.append(True)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue_module, "engine_of", lambda *_: Watched())
    monkeypatch.setattr(catalogue_module, "ended_status", interrupted)
    task = Task(str(tmp_path), "a", str(tmp_path / "a"), "r", {})
    with pytest.raises(KeyboardInterrupt) as stop:
        _run(Folder(tmp_path), [task], {"action": "run"}, 1)
    assert stopped, f"while {stop.tb} still refers to the loop"


def test_a_retry_takes_settings_and_no_code_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Folder(tmp_path / "made")
    folder.path.mkdir()
    videos = [Video("a", "/films/a.mkv")]
    words = ["videos=/films", "backbone=espcn", "++trainer.precision=32-true", "workers=2"]
    folder.write_listing(Listing(videos, words, "r"))
    typed = ["out=made", "retry", "workers=1"]
    assert rewritten(typed) == [*words[:-1], "out=made", "action=retry", "workers=1"]
    assert rewritten(["videos=x", *typed])[0] == "videos=x"
    for word in (
        "plugins=[evil]", "scorer.function=evil:f", "++callbacks.x._target_=os.system",
        "hydra.run.dir=/", "backbone=../x", "name=${oc.env:HOME}", "--config-dir=/tmp",
        "logger=wandb", "logger.entity=x", "callbacks=early_stopping", "paths.outputs=/elsewhere",
        "trainer.profiler={_target_:os.system}",
    ):  # fmt: skip
        folder.write_listing(Listing(videos, [*words, word], "r"))
        with pytest.raises(UserError, match="taken from the command line alone"):
            rewritten(typed)


def test_a_screen_ends_with_what_needs_attention(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    states: dict[str, State] = {"a": "failed", "b": "queued", "c": "done", "d": "failed"}
    for key, state in states.items():
        folder.write(
            key, Entry(video=key, recipe="r", state=state, error="odd" if key == "d" else None)
        )
    listed = Listing([Video(key, key) for key in "abcdef"], [], "r")
    lines = shown(folder, listed).splitlines()
    assert [line.split()[0] for line in lines[:6]] == list("cbefad")
    assert lines[5] == "d  failed       odd" and lines[7].startswith(
        "6 videos: 1 done, 3 queued, 2"
    )
