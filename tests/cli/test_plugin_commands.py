"""Own code without a fork: the example plugin on the command line, in Python and installed, and
what is refused. Commands run in this process but for those of the installed example."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from tiny_job import JOB

import stdo
from stdo.cli import deliver, evaluate, export, report, train
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugin"
PAGE = ROOT / "docs" / "plugins.md"
MAINS = {
    "train": train.main, "evaluate": evaluate.main, "deliver": deliver.main,
    "export": export.main, "report": report.main,
}  # fmt: skip
OWN = [*JOB[1:], "trainer=cpu", "video.path=clip.mkv"]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(own_code: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, which Python imports from, as it does from the example."""
    monkeypatch.chdir(own_code)
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.delenv("STDO_PLUGINS", raising=False)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    return own_code


@pytest.fixture
def command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command; returns exit code, output and errors."""

    def run(name: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"stdo-{name}", *words])
        GlobalHydra.instance().clear()
        code = 0
        try:
            MAINS[name]()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def clip(folder: Path) -> None:
    source = GeneratedClip(width=96, height=72, frames=4, rate=25, seed=0)
    with VideoWriter(folder / "clip.mkv", 96, 72, source.info.rate, "ffv1") as writer:
        for frame in source:
            writer.write(frame)


def apart(file: Path, frame: object) -> int:
    """The largest difference of a pixel between two pictures."""
    return int(np.abs(np.asarray(Image.open(file)).astype(int) - np.asarray(frame)).max())


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def net(folder: Path, name: str, body: str, conf: str = "") -> None:
    """A plugin with one backbone, TinyNet with another ``predict``, or another file."""
    write(folder / name / "__init__.py", "")
    write(
        folder / name / "nets.py",
        f"import torch\nfrom stdo_tiny.nets import TinyNet\nclass {name.title()}(TinyNet):\n{body}",
    )
    text = (EXAMPLE / "stdo_tiny" / "conf" / "backbone" / "tinynet.yaml").read_text()
    text = text.replace("stdo_tiny.nets.TinyNet", f"{name}.nets.{name.title()}")
    write(folder / name / "conf" / "backbone" / f"{name}.yaml", conf or text)


@pytest.mark.parametrize("typed", ["plugins=stdo_tiny", "plugins=[stdo_tiny]", None])
def test_help_lists_the_choices_of_a_plugin(
    command: Command, monkeypatch: pytest.MonkeyPatch, typed: str | None
) -> None:
    if typed is None:
        monkeypatch.setenv("STDO_PLUGINS", "stdo_tiny")
    code, out, _ = command("train", *([typed] if typed else []), "--help")
    assert code == 0
    assert re.search(r"^backbone: .*\btinynet\b", out, re.MULTILINE)
    assert re.search(r"^scorer: .*\bdetail\b", out, re.MULTILINE)
    assert re.search(r"^method: .*\btinymethod\b", out, re.MULTILINE)
    assert "plugins=['stdo_tiny']" in out


SLOW = pytest.mark.slow
REFUSED = {
    "plugins=nosuch": "plugins=nosuch: no such package; install it, or put its folder on .*PATH",
    "plugins=raises": r"plugins=raises: cannot be imported \(ValueError: no, .*__init__.py:1\)",
    "plugins=stdo-tiny": r"plugins=stdo-tiny: must be packages .*; did you mean stdo_tiny\?",
    "plugins=[stdo_tiny,double]": r"plugins=double: .*/tinynet.yaml: would not be read, since "
    "plugins=stdo_tiny has a backbone/tinynet.yaml as well; give it another name",
    "plugins=hidden": "plugins=hidden: .*/espcn.yaml: would not be read, since stdo has a .*",
    "--config-dir=hidden/conf": "--config-dir: .*/espcn.yaml: would not be read, since stdo has .*",
    "hydra.searchpath=[hidden/conf]": "hydra.searchpath.*/espcn.yaml: would not be read, since .*",
    "--config-dir=late experiment=late": "plugins=stdo_tiny: must be given on the command line or "
    "in STDO_PLUGINS, not in a configuration file",
    "backbone=tinynet": "backbone=tinynet: must be one of ecbsr, .*, wdsr",
    "optim.loss=stdo_tiny.losses:charbonnier": "optim.loss=stdo_tiny.losses:charbonnier: is of no "
    "plugin; plugins=stdo_tiny makes it one",
    "plugins=stdo_tiny optim.loss=stdo_tiny.losses:none": "optim.loss=.*:none: must be package.*",
    "plugins=stdo_tiny optim.loss=stdo_tiny.nets:TinyNet": "optim.loss=.*:TinyNet: "
    r"cannot be computed \(RuntimeError: .*",
    "scorer.measure.upscale._target_=stdo_tiny.nets.TinyNet": "_target_=stdo_tiny.nets.TinyNet: "
    "must be defined in one of .*; plugins=stdo_tiny would trust a package of yours",
    "plugins=now backbone=now": r"backbone.network._partial_=None: must be true",
    "plugins=espcn backbone=espcn_": r"backbone=espcn: espcn.nets.Espcn has the name of stdo.*",
    "plugins=small backbone=small": r"backbone=small: makes \(1, 27, 16, 20\) of .*: must make .*",
    "plugins=needs backbone=needs": r"backbone: cannot be built as it is set \(TypeError: .*",
    "plugins=soft backbone=soft deliver=true": r"backbone=soft: players cannot compute it "
    r"\(graph.onnx: step Sigmoid: must be one of .*",
}


@pytest.mark.parametrize(
    "words", [pytest.param(each, marks=SLOW if "soft" in each else ()) for each in REFUSED]
)
def test_mistakes_are_one_line_before_anything_is_decoded(
    folder: Path, command: Command, words: str
) -> None:
    clip(folder)
    write(folder / "raises" / "__init__.py", "raise ValueError('no')")
    net(folder, "double", "    pass\n")
    (folder / "double/conf/backbone/double.yaml").rename(
        folder / "double/conf/backbone/tinynet.yaml"
    )
    net(folder, "hidden", "    pass\n")
    (folder / "hidden/conf/backbone/hidden.yaml").rename(folder / "hidden/conf/backbone/espcn.yaml")
    write(folder / "late/experiment/late.yaml", "# @package _global_\nplugins: [stdo_tiny]\n")
    target = "name: now\nresidual: bicubic\nnegative_slope: 0\nquick_passes: 1\npaper_lr: 1\n"
    net(folder, "now", "    pass\n", f"{target}network: {{_target_: now.nets.Now, scale: 2}}\n")
    net(folder, "espcn", "    pass\n")
    (folder / "espcn/conf/backbone/espcn.yaml").rename(folder / "espcn/conf/backbone/espcn_.yaml")
    net(folder, "small", "    def forward(self, x): return x.repeat(1, 9, 1, 1)\n")
    net(folder, "needs", "    def __init__(self, scale, more, **others): super().__init__(scale)\n")
    net(folder, "soft", "    def predict(self, x):\n        return self.last(torch.sigmoid("
        "self.first(x)) + self.second(self.first(x)))\n")  # fmt: skip
    code, _, said = command("train", *words.split(), *OWN)
    last = said.splitlines()[-1]
    assert code == 2 and re.fullmatch(f"stdo: {REFUSED[words]}", last), said
    assert "Traceback" not in said
    assert not (folder / "outputs").exists() and not (folder / "cache").exists()


def test_a_run_folder_that_names_a_plugin_does_not_import_it(
    folder: Path, command: Command, finished_runs: Path
) -> None:
    run = shutil.copytree(next(finished_runs.glob("*/stdo-*")), folder / "run")
    write(folder / "evil" / "__init__.py", f"open({str(folder / 'marker')!r}, 'w')")
    config = (run / "config.yaml").read_text().replace("plugins: []\n", "plugins:\n- evil\n")
    (run / "config.yaml").write_text(config)
    for name in ("evaluate", "deliver", "export"):
        code, _, said = command(name, f"run={run}")
        assert code == 2
        assert said == (
            f"stdo: run={run}: was made with the plugin evil, which is not loaded; plugins=evil "
            "imports it, if you trust it\n"
        )
    with pytest.raises(stdo.UserError, match="with the plugin evil, which is not loaded"):
        stdo.Run.open(run).evaluate()
    assert not (folder / "marker").exists()
    (run / "config.yaml").write_text(config.replace("- evil", "- evil; import os"))
    code, _, said = command("evaluate", f"run={run}")
    assert code == 2 and "plugins[0]='evil; import os': must be" in said and said.count("\n") == 1


@pytest.mark.slow
def test_python_trains_packs_and_plays_with_a_plugin(folder: Path) -> None:
    clip(folder)
    settings = {"patches.height": 12, "patches.width": 16}
    source = stdo.open_clip("clip.mkv", scale=2, settings=settings)
    more = {"trainer": "cpu", "weights.bits": 32}
    recipe = stdo.Recipe("tinymethod", backbone="tinynet", chunks=2, passes=4, settings=more,
                         plugins=["stdo_tiny"])  # fmt: skip
    run = recipe.train(source)
    assert "plugins:\n- stdo_tiny\n" in (run.directory / "config.yaml").read_text()
    assert run.directory.name.startswith("tinymethod-tinynet-x2-k2-")
    brightest = -run.labels()[0].astype(int)
    assert brightest.min() < brightest.max(), "two chunks, by the plugin's scores"
    (network, _) = run.networks()
    assert type(network).__module__ == "stdo_tiny.nets"
    assert run.result.psnr.frame > run.result.bicubic.psnr.frame
    played = [frame for _, frame in stdo.Player(run.pack(bits=32).path)]
    run.evaluate(save="png")
    made = sorted((run.directory / "sr").glob("*.png"))
    assert len(made) == len(played) == 4
    assert max(map(apart, made, played)) <= 1


def test_a_failed_job_of_a_sweep_is_repeated_with_plugins_and_folders(
    folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STDO_PLUGINS", "stdo_tiny")
    clip(folder)
    write(folder / "my confs/experiment/odd.yaml", "# @package _global_\nname: odd\n")
    code, _, said = command(
        "train", "-m", "--config-dir", "my confs", "experiment=odd", "backbone=tinynet",
        "optim.lr=-1,-2", *OWN,
    )  # fmt: skip
    assert code == 1
    start = "python -m stdo.train --config-dir 'my confs' experiment=odd backbone=tinynet"
    failed = [line for line in said.splitlines() if line.startswith(f"    {start}")]
    assert len(failed) == 2
    assert all("'plugins=[stdo_tiny]'" in line for line in failed), failed


def test_the_commands_of_the_page_with_a_folder_of_ones_own(folder: Path, command: Command) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (path, content) = re.search(r"```yaml\n# (mine/\S+)\n(.*?)```", text, re.DOTALL).groups()
    write(folder / path, content)
    found = re.findall(r"^python -m stdo\.train (.*(?:--config-dir|searchpath).*)$", text, re.M)
    assert len(found) == 2
    for words in found:
        code, out, said = command("train", "--cfg", "job", *shlex.split(words))
        assert code == 0 and "chunks: 8\n" in out, said


@pytest.mark.slow
def test_the_example_is_installed_trained_packed_and_played(folder: Path) -> None:
    """The player has neither the plugin nor its path."""
    there = folder / "there"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--target", there, EXAMPLE],
        check=True, timeout=300,
    )  # fmt: skip
    clip(folder)
    without = {key: value for key, value in os.environ.items() if key != "STDO_PLUGINS"}
    path = os.environ.get("PYTHONPATH", "")
    with_it = without | {"PYTHONPATH": f"{there}{os.pathsep}{path}"}

    def call(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True,
            text=True, timeout=300, check=False,
        )  # fmt: skip

    own = [*OWN, "deliver=true", "weights.bits=32", "backbone=tinynet", "scorer=detail"]
    done = call(with_it, "stdo.train", *own)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "outputs" / "clip").iterdir()
    assert "plugins:\n- stdo_tiny\n" in (run / "config.yaml").read_text(), "installed, and used"
    assert call(with_it, "stdo.evaluate", f"run={run}", "save=png").returncode == 0
    refused = call(without, "stdo.evaluate", f"run={run}")
    assert refused.returncode == 2 and "with the plugin stdo_tiny, which is" in refused.stderr

    played = call(without, "stdo.play", str(run / "clip.stdo"), "played", "--frames", "png")
    assert played.returncode == 0, played.stderr
    made, seen = (sorted(place.glob("*.png")) for place in (run / "sr", folder / "played"))
    assert len(made) == len(seen) == 4
    assert max(map(apart, made, map(Image.open, seen))) <= 1
    plain = call(with_it, "stdo.train", *OWN, "backbone=espcn", "method=awdnn")
    assert plain.returncode == 0, plain.stderr
    (other,) = (folder / "outputs" / "clip").glob("awdnn-*")
    assert "plugins: []\n" in (other / "config.yaml").read_text(), "installed, and not used"
