"""Searches over settings: what sweepers other than Hydra's are told, and what they hand over."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_job import tiny_clip

TINY = [
    "backbone=espcn", "patches.height=12", "patches.width=16", "budget.passes=1", "trainer=cpu",
    "trainer.precision=32-true", "video.path=clip.mkv",
]  # fmt: skip

SWEEPER = '''
"""Tries what it is given, keeps what each job returned, and ends early where one returned nothing,\
 as Optuna's does."""
import itertools, json, pathlib
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

class Tiny(Sweeper):
    def __init__(self, params, direction="maximize", strict=True):
        self.params, self.direction, self.strict = dict(params), direction, strict

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments):
        values = [[f"{key}={value}" for value in several] for key, several in self.params.items()]
        jobs = [[*arguments, *chosen] for chosen in itertools.product(*values)]
        told = []
        for index, job in enumerate(jobs):
            (done,) = self.launcher.launch([job], initial_job_idx=index)
            told.append(done.return_value)
            pathlib.Path("told.json").write_text(json.dumps(told))
            if self.strict and told[-1] is None:
                raise ValueError("Return value must be float-castable. Got 'None'.")
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clip, and a plugin for Hydra with its configuration in ``mine``."""
    tiny_clip(tmp_path / "clip.mkv")
    plugin = tmp_path / "plugins" / "hydra_plugins" / "tiny_sweeper"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text("")
    (plugin / "tiny.py").write_text(SWEEPER)
    return tmp_path


def sweeper(folder: Path, **settings: object) -> None:
    (folder / "mine" / "hydra" / "sweeper").mkdir(parents=True, exist_ok=True)
    content = {"_target_": "hydra_plugins.tiny_sweeper.tiny.Tiny", **settings}
    (folder / "mine" / "hydra" / "sweeper" / "tiny.yaml").write_text(json.dumps(content))


def search(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    plugins = f"{folder / 'plugins'}:{os.environ.get('PYTHONPATH', '')}"
    return subprocess.run(
        [sys.executable, "-m", "stdo.train", "-m", "--config-dir", "mine", "hydra/sweeper=tiny",
         *TINY, *words],
        cwd=folder, env=os.environ | {"PYTHONPATH": plugins}, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_search_is_told_the_psnr_of_each_run(folder: Path) -> None:
    sweeper(folder, params={"optim.adam_lr": [0.001, 0.01], "scale": [2.0], "chunks": [2.0]})
    done = search(folder)
    assert done.returncode == 0, done.stderr
    told = json.loads((folder / "told.json").read_text())
    runs = {
        path.parent: json.loads(path.read_text())["psnr"]["frame"]
        for path in folder.glob("outputs/*/*/metrics.json")
    }
    assert sorted(told) == sorted(runs.values()) and len(runs) == 2
    assert all(run.name.startswith("bstdo-espcn-x2-k2-") for run in runs), "2.0 is 2"
    best = max(runs, key=lambda run: runs[run]).relative_to(folder)
    lines = done.stdout.splitlines()
    (at,) = [
        index
        for index, line in enumerate(lines)
        if line == f"highest psnr.frame: {max(told):.4g}, {best}"
    ]
    again = subprocess.run(
        ["bash", "-c", lines[at + 1].replace("python", sys.executable, 1)], cwd=folder,
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert f"{best} is finished" in again.stderr, again.stderr
    assert "note: the sweeper looks for" not in done.stderr


@pytest.mark.slow
def test_a_search_that_ends_early_says_so_in_one_line_and_shows_what_there_is(folder: Path) -> None:
    sweeper(
        folder,
        params={"scale": [2], "chunks": [2], "optim.adam_lr": [0.01, -1, 0.02]},
        direction="minimize",
    )
    done = search(folder)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "stdo: the sweeper ended early: Return value must be float-castable. Got 'None'."
    assert "optim.adam_lr=-1: must be a number above 0" in done.stderr
    assert "lowest psnr.frame: " in done.stdout
    assert len(json.loads((folder / "told.json").read_text())) == 2
    assert (
        done.stderr.count(
            "note: the sweeper looks for the lowest psnr.frame; hydra.sweeper.direction=maximize"
        )
        == 1
    )


@pytest.mark.slow
def test_what_repeats_a_failed_job_has_the_configurations_of_the_sweep(folder: Path) -> None:
    """The study, an experiment and a group's option are the user's own, in a folder that
    --config-dir names."""
    for name, text in {
        "ours.yaml": "fixed:\n  experiment: odd\n  seed: 3\nswept:\n  scale: [2, 5]\n",
        "experiment/odd.yaml": "# @package _global_\nname: odd\n",
        "patches/low.yaml": "_target_: stdo.video.clip.PatchSize\nheight: 12\nwidth: 16\nhalo: 0\n",
    }.items():
        path = folder / "my confs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    words = [word for word in TINY if not word.startswith("patches")]
    flags = ["--config-dir", "my confs"]
    done = subprocess.run(
        [sys.executable, "-m", "stdo.train", *flags, "study=my confs/ours.yaml", "patches=low",
         *words, "chunks=2"],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    failed = done.stderr.splitlines()[-1].strip()
    assert (
        failed.startswith("python -m stdo.train --config-dir 'my confs' ") and "scale=5" in failed
    )
    mended = failed.replace("scale=5", "scale=2").replace("python", sys.executable, 1)
    again = subprocess.run(
        ["bash", "-c", mended], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert "is finished" in again.stderr, "the other job, with all that the study fixes"
    assert again.returncode == 0, again.stderr
    (run,) = folder.glob("outputs/clip/odd-*")
    assert "seed: 3\n" in (run / "config.yaml").read_text()
