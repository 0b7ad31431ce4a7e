"""The Python interface: README's example as it stands there, the notebook, and that runs are the
command line's."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from documented import ROOT

import stdo
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

SMALL = {"trainer": "cpu", "patches.height": 12, "patches.width": 16}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small clip.mp4, which holds patches of the paper's size, and a tiny one."""
    folder = tmp_path_factory.mktemp("home")
    source = GeneratedClip(width=224, height=200, frames=3, rate=25, seed=0)
    with VideoWriter(folder / "clip.mp4", 224, 200, source.info.rate, "lossless") as writer:
        for frame in source:
            writer.write(frame)
    source = GeneratedClip(width=96, height=72, frames=6, rate=25, seed=0)
    with VideoWriter(folder / "tiny.mp4", 96, 72, source.info.rate, "lossless") as writer:
        for frame in source:
            writer.write(frame)
    return folder


def trained(home: Path, **changes: object) -> stdo.Run:
    own = {key: value for key, value in SMALL.items() if key.startswith("patches")}
    clip = stdo.open_clip(home / "tiny.mp4", scale=2, cache=home / "cache", settings=own)
    settings = {"trainer": "cpu", **changes.pop("settings", {})}  # type: ignore[dict-item]
    recipe = stdo.Recipe("stdo", backbone="espcn", chunks=2, passes=1, settings=settings, **changes)  # type: ignore[arg-type]
    return recipe.train(clip, home / "outputs")


@pytest.mark.slow
def test_the_example_of_the_readme_runs_as_it_stands(home: Path) -> None:
    (example,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    code = f"{example}\nprint(len(table), seconds, frame.shape)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures, last = done.stdout.splitlines()
    ours, bicubic = map(float, figures.split())
    assert 10 < bicubic < 60 and 10 < ours < 60
    assert last == "1 2/25 (200, 224, 3)"


def test_the_directory_is_the_one_of_the_command_line(home: Path) -> None:
    run = trained(home)
    words = [f"{name}={value}" for name, value in SMALL.items()]
    words += [
        "method=stdo",
        "backbone=espcn",
        "chunks=2",
        "scale=2",
        "budget.passes=1",
        "video.path=tiny.mp4",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "stdo.train", *words],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        done.returncode == 0 and f"{run.directory.relative_to(home)} is finished" in done.stderr
    ), done.stderr


def test_what_a_run_tells(home: Path) -> None:
    run = trained(home)
    metrics = json.loads((run.directory / "metrics.json").read_text(encoding="utf-8"))
    result = run.result
    assert result.psnr.frame == metrics["psnr"]["frame"] and result.metrics == metrics
    assert (result.method, result.backbone, result.scale, result.chunks) == ("stdo", "espcn", 2, 2)
    assert (result.frames, result.width, result.height) == (6, 96, 72)
    labels = run.labels()
    assert (
        labels.shape == (6, 3, 3)
        and np.bincount(labels.ravel()).tolist() == metrics["chunk_patches"]
    )
    assert run.network_of() == [0, 1] and len(run.networks()) == 2
    assert not any(network.training for network in run.networks())
    assert (
        sum(p.numel() for network in run.networks() for p in network.parameters()) == result.params
    )
    assert run.evaluate().psnr == result.psnr


def test_packing_measures_what_the_player_shows(home: Path, tmp_path: Path) -> None:
    packed = trained(home).pack(bits=32, out=tmp_path / "a.stdo")
    assert packed.path.stat().st_size == packed.bytes["total"]
    assert packed.result.delivered is not None
    assert packed.result.delivered.psnr.frame == pytest.approx(packed.result.psnr.frame, abs=0.01)
    frames = list(stdo.Player(packed.path))
    assert len(frames) == 6 and frames[0][1].shape == (72, 96, 3)


@pytest.mark.slow
def test_what_settings_ask_for_around_the_fit_is_done(home: Path) -> None:
    run = trained(
        home,
        settings={"deliver": True, "weights.bits": 6, "networks_alone": True, "name": "all of it"},
    )
    assert run.result.bytes is not None and run.result.metrics["delivered"]["bits"] == 6
    assert (run.directory / "tiny.stdo").exists() and (
        run.directory / "network-1/metrics.json"
    ).exists()
    command = json.loads((run.directory / "provenance.json").read_text(encoding="utf-8"))["command"]
    done = subprocess.run(
        [sys.executable, "-m", "stdo.train", *command[1:]],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{run.directory} is finished" in done.stderr, (
        "its provenance has the command that does the same"
    )


def test_a_run_is_opened_after_all_has_moved(home: Path, tmp_path: Path) -> None:
    run = trained(home, seed=1)
    moved = tmp_path / "elsewhere"
    shutil.copytree(run.directory, moved)
    shutil.copyfile(home / "tiny.mp4", tmp_path / "renamed.mp4")
    config = (
        (moved / "config.yaml")
        .read_text(encoding="utf-8")
        .replace(str(home), str(tmp_path / "gone"))
    )
    (moved / "config.yaml").write_text(config, encoding="utf-8")
    with pytest.raises(stdo.UserError, match=r"video\.path="):
        stdo.Run.open(moved).evaluate()
    again = stdo.Run.open(moved, video=tmp_path / "renamed.mp4", cache=tmp_path / "cache")
    assert again.evaluate().psnr == run.result.psnr


def test_results_are_those_of_results_tsv(home: Path) -> None:
    run = trained(home)
    table = stdo.results(home / "outputs")
    rows = table if isinstance(table, list) else table.to_dict("records")
    assert run.result.psnr.frame in [row["psnr_frame"] for row in rows]


WRONG = {
    "method": ({"method": "nostdo"}, r"^method=nostdo: must be one of awdnn"),
    "a setting": (
        {"settings": {"budget.pases": 2}},
        r"^budget\.pases: no such setting; did you mean budget\.passes\?$",
    ),
    "a value": ({"chunks": 0}, r"^chunks=0: must be a whole number"),
    "a folder": (
        {"settings": {"optim": "sgd"}},
        r"^optim=sgd: must be one of adam, muon, reptile$",
    ),
    "a setting twice": ({"settings": {"chunks": 2}}, r"^chunks: must be given once"),
    "passes twice": (
        {"passes": 1, "settings": {"budget.passes": 2}},
        r"^budget\.passes: must be given once",
    ),
    "of the clip": (
        {"settings": {"degrade.crf": 2}},
        r"^degrade\.crf: is no setting of a recipe; .* stdo\.open_clip$",
    ),
    "of another argument": (
        {"settings": {"paths.outputs": "a"}},
        r"^paths\.outputs: is no setting of a recipe; .* outputs=$",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_mistakes_are_one_line(kind: str, home: Path) -> None:
    changes, words = WRONG[kind]
    with pytest.raises(stdo.UserError, match=words) as caught:
        stdo.Recipe(**{"backbone": "espcn", **changes}).train(
            stdo.open_clip(home / "clip.mp4"), home / "wrong"
        )
    assert "\n" not in str(caught.value)
    assert not (home / "wrong").exists()


def test_a_package_that_cannot_be_is_said_before_the_fit(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stdo.package.source.MAX_PIXELS", 60)
    with pytest.raises(
        stdo.UserError, match="96x72 pixels: in a package a frame must have at most 60 pixels"
    ):
        trained(home, seed=2, settings={"deliver": True})
    run = trained(home, seed=2)
    assert "note: this run cannot be packed: " in capsys.readouterr().err
    with pytest.raises(stdo.UserError, match="in a package a frame must have at most 60 pixels"):
        run.pack()


def test_mistakes_in_a_clip_are_one_line(home: Path) -> None:
    for words, call in {
        r"^video\.path=.*none\.mp4: no such file$": lambda: stdo.open_clip(home / "none.mp4"),
        r"^scale=5: must be one of 2, 3, 4$": lambda: stdo.open_clip(home / "clip.mp4", scale=5),
        r"^budget\.passes: is no setting of a clip": lambda: stdo.open_clip(
            settings={"budget.passes": 1}
        ),
        r"^paths\.outputs: is no setting of a clip": lambda: stdo.open_clip(
            settings={"paths.outputs": "a"}
        ),
        r"^video\.path: is given by path$": lambda: stdo.open_clip(
            "a", settings={"video.path": "b"}
        ),
        r"^run=.*none: ": lambda: stdo.Run(home / "none"),
    }.items():
        with pytest.raises(stdo.UserError, match=words):
            call()


def test_nothing_is_imported_before_it_is_used() -> None:
    code = "import sys, stdo; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "numpy", "hydra", "omegaconf", "av"} & set(loaded)
    assert set(stdo.__all__) <= set(dir(stdo))
    assert all(getattr(stdo, name) is not None for name in stdo.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        stdo.nothing  # noqa: B018


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = json.loads((ROOT / "examples/first_run.ipynb").read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells), "kept without outputs"
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("2 runs\n")
