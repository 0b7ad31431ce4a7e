"""A finished run knows its video: another is refused, and its own is found where it has gone."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from test_train_command import run_command
from tiny_job import JOB

from stdo.config.clips import clip_of
from stdo.config.places import cache_of, candidates
from stdo.core.types import Frame, UserError
from stdo.encoder.pack import Delivery, deliver
from stdo.evaluation.reconstruct import device_of
from stdo.models.weights import read_safetensors
from stdo.pipeline.steps import Job, alone, evaluate, train
from stdo.training.data import PatchData
from stdo.video.clip import Clip
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

ANOTHER = "is not the video of this run"
ONE_CHUNK = [each for each in JOB if not each.startswith(("chunks", "budget"))]
ONE_CHUNK += ["chunks=1", "trainer=cpu"]


def film(
    path: Path,
    frames: int = 6,
    seed: int = 0,
    size: tuple[int, int] = (96, 72),
    codec: str = "ffv1",
) -> Path:
    """The clip of `finished_runs` unless something is changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = GeneratedClip(width=size[0], height=size[1], frames=6, rate=25, seed=seed)
    with VideoWriter(path, *size, clip.info.rate, codec) as writer:
        for _, frame in zip(range(frames), clip, strict=False):
            writer.write(frame)
    return path


def nearly(path: Path) -> Path:
    """The clip with one grey level more in one pixel of its last frame."""
    with VideoWriter(path, 96, 72, 25, "ffv1") as writer:
        for t, frame in enumerate(GeneratedClip(width=96, height=72, frames=6, rate=25, seed=0)):
            pixels = frame.rgb_HWC.copy()
            pixels[40, 50] ^= np.uint8(t == 5)
            writer.write(Frame(frame.pts, pixels))
    return path


OTHERS: dict[str, Callable[[Path], Path]] = {
    "other pictures": lambda path: film(path, seed=3),
    "shorter": lambda path: film(path, frames=4),
    "another size": lambda path: film(path, size=(128, 72)),
    "exported anew": lambda path: film(path, codec="x264"),
    "one pixel": nearly,
}


@pytest.fixture
def home(finished_runs: Path, tmp_path: Path) -> Path:
    """A folder that holds clip.mkv, outputs and cache, as if the runs had been made there."""
    here = tmp_path / "home"
    shutil.copytree(finished_runs.parent, here)
    for config in here.glob("outputs/*/*/config.yaml"):
        config.write_text(
            config.read_text(encoding="utf-8").replace(str(finished_runs.parent), str(here)),
            "utf-8",
        )
    return here


def run_of(home: Path) -> Path:
    return sorted(home.glob("outputs/*/stdo-*"))[0]


def state(run: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in run.iterdir()
        if path.is_file() and not path.name.startswith(".")
    }


def packed(run: Path) -> None:
    deliver(run, clip_of(run), Delivery())


def as_before(run: Path) -> None:
    """Make a run one of before fingerprints were kept, its facts in its weights."""
    tensors, meta = read_safetensors(run / "weights.safetensors")
    facts = json.loads((run / "facts.json").read_text(encoding="utf-8"))
    (run / "facts.json").unlink()
    assert facts.pop("fingerprint")
    content = safetensors.torch.save(tensors, meta | {"facts": json.dumps(facts)})
    (run / "weights.safetensors").write_bytes(content)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics.pop("fingerprint")
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        *((kind, False) for kind in OTHERS),
        *((kind, True) for kind in OTHERS if kind != "one pixel"),
    ],
)
def test_another_video_in_its_place_is_refused_and_changes_nothing(
    kind: str, before: bool, home: Path
) -> None:
    run = run_of(home)
    if before:
        as_before(run)
    (home / "clip.mkv").unlink()
    OTHERS[kind](home / "clip.mkv")
    kept = state(run)
    with pytest.raises(UserError, match=ANOTHER) as caught:
        evaluate(run, clip_of(run))
    assert "\n" not in str(caught.value) and "video.path=" in str(caught.value)
    with pytest.raises(UserError, match=ANOTHER):
        packed(run)
    assert state(run) == kept


def test_the_command_says_so_in_one_line(home: Path) -> None:
    run = run_of(home)
    (home / "clip.mkv").unlink()
    OTHERS["shorter"](home / "clip.mkv")
    for module in ("evaluate", "deliver"):
        done = run_command(f"run={run}", cwd=home, module=module)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert done.stderr.startswith(f"stdo: {run}: clip {ANOTHER}")


def test_as_a_library_alike(
    finished_job: Job, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    shutil.copytree(finished_job.directory, tmp_path / "run")
    own = finished_job.data
    source = GeneratedClip(width=70, height=50, frames=6, rate=25, seed=2)
    clip = Clip(source, own.clip.degrade, own.clip.patches, tmp_path / "cache")
    job = replace(
        finished_job, directory=tmp_path / "run", data=PatchData(clip, own._scorer, own._split, 3)
    )
    kept = state(job.directory)
    with pytest.raises(UserError, match=ANOTHER):
        train(job)
    for use in (evaluate, alone):
        with pytest.raises(UserError, match=ANOTHER):
            use(job.directory, clip)
    assert state(job.directory) == kept
    assert train(replace(job, data=make_job().data))["psnr"] == train(finished_job)["psnr"]


def test_a_run_of_before_is_known_by_bicubics_figures(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(home)
    as_before(run)
    before = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    after = evaluate(run, clip_of(run))
    assert after["psnr"] == before["psnr"]
    assert after["fingerprint"], "from now on it is known"
    assert "note" not in capsys.readouterr().err
    as_before_again = {key: value for key, value in after.items() if key != "fingerprint"}
    (run / "metrics.json").write_text(json.dumps(as_before_again), encoding="utf-8")
    (run / "maps.npz").unlink()
    evaluate(run, clip_of(run))
    assert f"note: {run} does not tell which video it was made on" in capsys.readouterr().err


def test_nothing_is_scored_or_split_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(home)
    for scores in home.glob("cache/*/score*"):
        scores.unlink()
    evaluate(run, clip_of(run))
    packed(run)
    assert not list(home.glob("cache/*/score*"))
    said = capsys.readouterr().err
    assert "evaluate: 100%" in said and "score:" not in said


def figures(run: Path) -> object:
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return metrics["psnr"], metrics["bicubic"]["psnr"]


@pytest.mark.parametrize("typed", ["absolute", "relative, as before"])
def test_a_folder_that_moved_as_a_whole_is_found(
    typed: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for config in home.glob("outputs/*/*/config.yaml"):
        if typed != "absolute":
            config.write_text(config.read_text(encoding="utf-8").replace(f"{home}/", ""), "utf-8")
    moved = home.rename(home.with_name("moved"))
    elsewhere = moved / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = run_of(moved)
    before = figures(run)
    evaluate(run, clip_of(run))
    assert figures(run) == before
    assert not list(elsewhere.iterdir()) and not home.exists(), "no second cache"


@pytest.mark.slow
def test_a_run_keeps_where_its_video_and_its_cache_are(home: Path) -> None:
    done = run_command(
        *ONE_CHUNK, "budget.passes=0.5", "video.path=clip.mkv", "name=fresh", cwd=home
    )
    assert done.returncode == 0, done.stderr
    (run,) = home.glob("outputs/clip/fresh-*")
    before = figures(run)
    (home / "else").mkdir()
    for module in ("evaluate", "deliver"):
        done = run_command(f"run={run}", cwd=home / "else", module=module)
        assert done.returncode == 0, done.stderr
    assert figures(run) == before and not list((home / "else").iterdir())


@pytest.mark.slow
def test_a_video_that_moved_is_named(home: Path, tmp_path: Path) -> None:
    run = run_of(home)
    before = figures(run)
    (tmp_path / "films").mkdir()
    film_now = (home / "clip.mkv").rename(tmp_path / "films" / "renamed.mkv")
    with pytest.raises(
        UserError, match=r"^video.path=.*clip.mkv: no such file or folder; video.path= says where"
    ):
        clip_of(run)
    done = run_command(
        f"run={run}", "video.path=films/renamed.mkv", cwd=tmp_path, module="evaluate"
    )
    assert done.returncode == 0, done.stderr
    assert figures(run) == before
    assert not (tmp_path / "cache").exists()
    for key, value in (("root", str(film_now)), ("paths", [str(film_now)])):
        with pytest.raises(
            UserError, match=rf"^video.{key}=.*: must be left out: this run has video.path$"
        ):
            clip_of(run, video={key: value})


@pytest.mark.parametrize("there", ["another video", "no video"])
def test_of_two_places_the_one_with_the_right_video_is_taken(
    there: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run_of(home) / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace(f"{home}/", ""), "utf-8")
    film(home / "else" / "clip.mkv", seed=9)
    if there == "no video":
        (home / "else" / "clip.mkv").write_bytes(b"not a video at all" * 99)
    monkeypatch.chdir(home / "else")
    assert clip_of(run_of(home)).source.path == home / "clip.mkv"


@pytest.mark.slow
def test_several_files_and_folders_of_pictures_move_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    film(work / "a.mkv"), film(work / "b.mkv", seed=1)
    (work / "pictures").mkdir()
    for t, frame in enumerate(GeneratedClip(width=96, height=72, frames=3, rate=25, seed=0)):
        with VideoWriter(work / "one", 96, 72, 25, "png") as writer:
            writer.write(frame)
        next((work / "one").iterdir()).rename(work / "pictures" / f"{t}.png")
        shutil.rmtree(work / "one")
    for video in (
        ["video=joined", "video.paths=[a.mkv,b.mkv]"],
        ["video=folder", "video.path=pictures"],
    ):
        done = run_command(*ONE_CHUNK, "budget.passes=0.5", *video, cwd=work)
        assert done.returncode == 0, done.stderr
    moved = work.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    for run in moved.glob("outputs/*/*"):
        before = figures(run)
        evaluate(run, clip_of(run))
        assert figures(run) == before
    (moved / "films").mkdir()
    for name in ("a.mkv", "b.mkv"):
        (moved / name).rename(moved / "films" / name)
    (joined,) = moved.glob("outputs/a*b/*")
    with pytest.raises(UserError, match=r"video.paths= says where"):
        clip_of(joined)
    clip_of(joined, video={"paths": [str(moved / "films" / name) for name in ("a.mkv", "b.mkv")]})
    with pytest.raises(UserError, match=ANOTHER):
        clip_of(
            joined, video={"paths": [str(moved / "films" / name) for name in ("b.mkv", "a.mkv")]}
        )


def test_a_run_from_another_machine_makes_no_folders_of_that_machine(tmp_path: Path) -> None:
    sent = tmp_path / "downloads" / "sent"
    sent.mkdir(parents=True)
    found = cache_of("/home/somebody/work/cache", "/home/somebody/work/outputs", sent, "0" * 32)
    assert not str(found).startswith("/home/somebody")
    assert candidates("/a/b/x.mp4", "/a/out", Path("/c/out/x/run"))[1] == Path("/c/b/x.mp4")


@pytest.mark.parametrize("name", ["cuda:7", "mps:0", "nosuch", "", None, "xla:1"])
def test_a_device_that_is_not_here_gives_way(name: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(name).type == "cpu"
    assert device_of("cpu") == torch.device("cpu")


def test_facts_hold_the_fingerprint(home: Path) -> None:
    kept, measured = (
        json.loads((run_of(home) / name).read_text(encoding="utf-8"))["fingerprint"]
        for name in ("facts.json", "metrics.json")
    )
    assert kept == measured
    (folder,) = (home / "cache").iterdir()
    assert kept.endswith(folder.name), "that of the cache"
