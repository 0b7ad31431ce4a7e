"""The configuration tree: every option of every group composes and builds; precedence; methods pick
three axes."""

import re
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from stdo.chunks.dct import Dct
from stdo.chunks.eps import by_cluster
from stdo.chunks.inorder import InOrder
from stdo.chunks.online import Online
from stdo.chunks.sample import First, Ratios, Uniform
from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score, by_time, whole
from stdo.chunks.tasks import Tasks
from stdo.chunks.turns import Turns
from stdo.config.jobs import build_job, run_directory
from stdo.config.settings import check
from stdo.config.trust import CONFIG_KEYS, conf_dir, load_config
from stdo.core.types import UserError
from stdo.models.branched import Branched
from stdo.models.chain import Chain
from stdo.models.modulated import Modulated
from stdo.models.sharing import Independent, Single
from stdo.runs.settings import SETTINGS
from stdo.video.degrade import BicubicUpscaler
from stdo.video.sample import GeneratedClip

CONF = conf_dir()
OPTIONS = sorted(
    (folder.name, file.stem)
    for folder in CONF.iterdir()
    if folder.is_dir()
    for file in folder.glob("*.yaml")
)
NEEDED = {
    ("init", "general"): ["init.weights=w.safetensors"],
    ("init", "meta"): ["init.weights=w.safetensors"],
    ("method", "emt"): ["init.weights=w.safetensors"],
    ("optim", "reptile"): ["sampler=tasks"],
    ("scorer", "network"): ["scorer.function=numpy:copy"],
    ("scorer", "pretrained"): ["scorer.weights=w.pt"],
    ("video", "folder"): ["video.path=x"],
    ("video", "joined"): ["video.paths=[x,y]"],
    ("video", "vsd4k"): ["video.root=x"],
}
METHODS = {
    "awdnn": (whole, Single, Uniform),
    "nas": (by_time, Independent, Uniform),
    "cafm": (by_time, Modulated, Uniform),
    "repcam": (by_time, Branched, Online),
    "eps": (by_cluster, Single, First),
    "srvc": (by_time, Chain, InOrder),
    "emt": (by_time, Chain, InOrder),
    "livenas": (by_time, Chain, InOrder),
    "reptile": (by_time, Single, Tasks),
    "stdo": (by_score, Independent, Uniform),
    "jstdo": (by_score, Single, Ratios),
    "bstdo": (by_score, Independent, Turns),
}


def configured(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        return compose("train", list(overrides))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_passes_the_checks(group: str, option: str) -> None:
    config = configured(f"{group}={option}", *NEEDED.get((group, option), []))
    check(config)
    for name, part in config.items():
        if (
            isinstance(part, DictConfig)
            and "_target_" in part
            and name not in ("video", "scorer", "trainer")
        ):
            instantiate(part)


@pytest.mark.parametrize("method", [option for group, option in OPTIONS if group == "method"])
def test_a_method_picks_chunking_sharing_and_sampling(method: str) -> None:
    config = configured(f"method={method}")
    split, sharing, sampler = METHODS[method]
    assert config.method == method
    assert instantiate(config.chunking.split).func is split
    assert instantiate(config.sharing).func is sharing
    assert instantiate(config.sampler).func is sampler


def test_scorers_build_from_their_settings() -> None:
    built = instantiate(
        configured("scorer=dct", "scorer.frames=lr", "scorer.block=8", "scorer.temporal=0").scorer
    )
    assert (built.name, built.measure) == ("dct", Dct("lr", 8, 0))
    assert instantiate(configured("scale=3").scorer.measure) == ByPsnr(BicubicUpscaler(3))
    named = instantiate(configured("scorer=network", "scorer.function=numpy:copy").scorer.measure)
    assert named == ByPsnr(np.copy)
    assert named.key() is None, "any callable may have changed since the last run"


def test_the_command_line_beats_the_method() -> None:
    assert instantiate(configured("method=stdo", "sharing=modulated").sharing).func is Modulated
    assert configured("method=nas", "chunking=score").chunking.name == "score"
    assert configured("chunking=time", "method=awdnn").chunking.name == "time"


PAPERS_RATE = {"espcn": 1e-4, "srcnn": 1e-4, "vdsr": 1e-4, "edsr": 1e-4, "wdsr": 1e-3}
"""Of the backbones that the paper trains."""


@pytest.mark.parametrize("backbone", [option for group, option in OPTIONS if group == "backbone"])
def test_budgets_choose_the_learning_rate(backbone: str) -> None:
    words = ("method=stdo", f"backbone={backbone}")
    quick, paper = configured(*words), configured(*words, "budget=paper")
    assert (
        paper.optim.lr
        == paper.backbone.paper_lr
        == PAPERS_RATE.get(backbone, paper.backbone.paper_lr)
    )
    assert (paper.budget.passes, paper.budget.batch) == (50, 16)
    assert (quick.optim.lr, quick.budget.passes) == (1e-3, quick.backbone.quick_passes)
    for method in ("stdo", "bstdo"):
        assert (
            configured(
                f"method={method}", f"backbone={backbone}", "optim.lr=0.5"
            ).optim.optimizer.lr
            == 0.5
        )


BAD = {
    "scale": [5, "x", True], "chunks": [0, 1.5, "x"], "seed": [-1], "force": [1, "x"], "name": [""],
    "checkpoint_seconds": [-1], "paths.outputs": [""], "paths.cache": [3], "video.path": [7],
    "video.paths": ["x", [3]], "video.root": [7, ""],
    "video.start": [-1, "x"], "video.duration": [0], "video.max_frames": [0, 2.5],
    "video.height": [3], "backbone.residual": ["all", True, None],
    "patches.height": [0], "patches.width": [0], "patches.halo": [-1], "degrade.crf": [-1, "x"],
    "logger.project": [""], "logger.entity": [3], "logger.mode": ["sometimes"],
    "logger.group": [""], "logger.tags": ["x", [3]], "logger.artifact": ["x"],
    "budget.passes": [0, "x"], "video.every": [0, 1.5, None], "study": ["", 3],
    "networks_alone": [1, "x"], "network": [-1, "x", True],
    "sampler.ratios": [[0, 0], [1, -0.1], [1.5], "x", [1, "x"], [True], []],
    "sampler.resample": ["x"], "sampler.weights": [[0], [-1, 1], [float("inf")], 3],
    "sampler.step_shares": [[0, 0], [-1, 1], "x"], "sampler.factor": [0, 1.1, "x"],
    "sampler.size": [0, 1.5, -3, "x", True], "init.share": [0, 1, -0.5, "x", None],
    "init.weights": ["", 3], "budget.batch": [0], "optim.lr": [0], "optim.loss": ["l3", None],
    "trainer.precision": ["fp8"], "deliver": ["yes", 1], "weights.bits": [0, 5, "8", True],
    "out": ["", 3], "unpacked": [1, "x"], "backbone.negative_slope": [-0.1, 1, "x", None],
    "backbone.depth": [0, 17, 2.5], "backbone.channels": [3, 65, "x"],
    "backbone.width": [0, 1.5, "x", None], "sharing.bicubic_chunks": [-1, 0.5, "auto", None, True],
    "plugins": ["x", [3], ["a-b"], ["a/b"], None],
    "optim.momentum": [1, -0.1, "x"], "optim.adam_lr": [0, "x"], "run": ["", 3, None],
    "runs": ["", [], [3], 3], "title": ["", 3], "video.pattern": ["", None], "video.topic": ["", 3],
    "scorer.weights": ["", None], "method": ["", 3], "html": [1, "x"], "private": [1, None],
    "save": ["gif", True], "format": ["", None], "size": ["", 3],
    "video.seconds": [0, 1.5, "x"], "video.rate": [0, -1, None, True],
    "degrade.codec": ["", 3], "degrade.preset": ["", 3], "chunking.name": ["", None],
    "scorer.name": ["", None], "scorer.sha256": ["", 3], "scorer.backbone": ["", None],
    "scorer.colour": ["lab", None], "scorer.bicubic_a": ["x", None, float("nan")],
    "scorer.frames": ["sr", None], "scorer.block": [0, 1.5], "scorer.temporal": [-1, "x"],
    "backbone.name": ["", None], "backbone.network.init": ["he", None],
    "backbone.quick_passes": [0, "x"], "backbone.paper_lr": [0, "x"], "init.name": ["", None],
    "budget.name": ["", None], "budget.lr": [0, "x"], "budget.warmup": [1, -0.1],
    "chunking.thresholds": [[], 24, ["x"], "x"],
    "chunking.seconds": [0, -5, "x"],
    "videos": ["", 3],
    "action": ["stop", None],
    "engine": ["dask", None],
    "shard": ["3", "3/", "0/0", 3],
    "workers": [0, 1.5, "x"],
    "threads": [0, None, "x"],
    "retries": [-1, None, 0.5],
    "resources.gpus": [-1, "x", None],
    "ray.address": ["", 3],
    "slurm.cluster": ["pbs", None],
    "slurm.partition": ["", 3],
    "slurm.account": ["", 3],
    "slurm.minutes": [0, 1.5, None],
    "slurm.memory": [0, "x"],
    "split.seconds": [0, -1, "x"],
    "paths.cache_limit": [0, -1, "x"],
    "metrics": ["ms_ssim", ["lpips"], None],
    "budget.equal": ["half", None, 1],
    "budget.full_steps": [-1, 1.5], "plot.kind": ["", 3], "plot.x": ["", 3], "plot.y": ["", 3],
    "plot.by": ["", 3, [3], []], "plot.where": ["x", 3],
    "plot.text": ["", 3], "plot.log": [1, "x"], "plot.paper": ["", 3],
    "multirun": ["", 3], "project": ["", 3], "entity": ["", 3], "group": ["", 3],
    "protocol": ["psnr", None], "print": [1, "x"],
    "budget.validate_every": [0, 1.5, -3, "x", True], "budget.validate_frames": [0, 1.5, "x"],
    "objective": ["", None, "psnr frame"], "trainer.profiler": ["fast", 3],
    "trainer.gradient_clip_val": [-1, "x"], "trainer.gradient_clip_algorithm": ["l2", 3],
    "trainer.accumulate_grad_batches": [0, 1.5, "x"], "trainer.max_steps": [0, -2, 1.5, "x"],
    "trainer.limit_train_batches": [0, 1.5, "x"], "trainer.overfit_batches": [-1, 1.5, "x"],
    "trainer.fast_dev_run": [-1, 1.5, "x", None],
    "plot.frame": [-1, 1.5], "scorer.function": ["", 3], "sharing.rank": [0, 256, 1.5, "x", None],
    "patches.whole": [1, "x", None],
    "optim.outer": [0, 1.1, "x"], "sharing.fraction": [0, 1.1, "x"],
    "sharing.choose": ["all", None],
    "sampler.crop": [0, 1.5, "x"], "sampler.flips": [1, "x"], "sampler.rotations": [1, "x"],
    "sampler.trial": [1, -0.1, "x"], "sampler.behind": [2, -1, "x"],
    "sampler.recent": [0, 1.1, "x"], "sampler.hardest": [0, 1.1, "x"],
    "sampler.inner": [0, 1.5, "x"], "sampler.look_every": [0, 1.5, "x"],
    "sharing.init": ["he", None], "sampler.share": [0, 1.1, "x"], "sampler.every": [0, 1.5, "x"],
}  # fmt: skip


@pytest.mark.parametrize("key", SETTINGS)
def test_every_setting_refuses_and_names_the_value(key: str) -> None:
    for value in BAD[key.removeprefix("init.") if key.startswith("init.sampler") else key]:
        with pytest.raises(UserError, match=f"^{re.escape(f'{key}={value}')}: must be"):
            check(nested(key, value))


def nested(key: str, value: object) -> dict:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value  # type: ignore[return-value]


class TestRunDirectory:
    clip = GeneratedClip(width=96, height=64, frames=2)

    def of(self, *overrides: str) -> Path:
        return run_directory(configured(*overrides), self.clip)

    def test_is_named_by_what_it_holds(self) -> None:
        name = self.of("backbone=espcn", "scale=3", "chunks=6", "method=nas")
        assert name.parent == Path("outputs/generated")
        assert name.name.startswith("nas-espcn-x3-k6-")

    @pytest.mark.parametrize(
        "change", ["seed=1", "patches.halo=4", "optim.lr=0.1", "trainer.precision=32-true"]
    )
    def test_changes_with_what_changes_the_result(self, change: str) -> None:
        assert self.of().name != self.of(change).name

    @pytest.mark.parametrize("change", ["force=true", "paths.cache=elsewhere", "trainer.devices=1"])
    def test_stays_when_the_result_does(self, change: str) -> None:
        assert self.of().name == self.of(change).name

    @pytest.mark.parametrize(
        ("one", "same"),
        [
            ("budget.passes=1", ["budget.passes=1.0", "budget.passes=1e0"]),
            ("scale=2", ["scale=2.0"]),
            ("chunks=3", ["chunks=3.0", "chunks=3e0"]),
            ("optim.lr=1", ["optim.lr=1.0"]),
            ("backbone.width=1", ["backbone.width=1.0"]),
            (
                "method=jstdo sampler.ratios=[1,0.5,0.5,0]",
                ["method=jstdo sampler.ratios=[1.0,0.5,5e-1,0.0]"],
            ),
            ("scorer=dct scorer.temporal=1.0", ["scorer=dct scorer.temporal=1", "scorer=dct"]),
        ],
    )
    def test_equal_settings_are_one_run_however_they_are_written(
        self, one: str, same: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        built = [
            build_job(configured("video.max_frames=2", *words.split())).directory
            for words in (one, *same)
        ]
        assert len(set(built)) == 1
        other = "method=jstdo sampler.ratios=[1,0.4,0.5,0]" if "ratios" in one else f"{one} seed=1"
        assert build_job(configured("video.max_frames=2", *other.split())).directory != built[0]

    def test_a_size_in_patches_and_a_share_of_all_are_two_things(self) -> None:
        assert self.of("method=jstdo", "sampler.size=1") != self.of(
            "method=jstdo", "sampler.size=1.0"
        )

    def test_knows_the_video_by_its_content(self) -> None:
        other = GeneratedClip(width=96, height=64, frames=2, seed=5)
        assert run_directory(configured(), other).name != self.of().name


def test_what_a_method_sets_is_its_own_unless_a_user_changes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("video.max_frames=2", "backbone=espcn")
    own = build_job(configured(*words)).facts["own_settings"]
    expected = ["backbone.negative_slope", "backbone.network.negative_slope"]
    expected += ["backbone.network.residual", "backbone.residual", "optim.loss", "patches.halo"]
    assert own == expected
    changed = build_job(configured(*words, "patches.halo=4")).facts["own_settings"]
    assert set(own) - set(changed) == {"patches.halo"}
    assert build_job(configured("method=stdo", *words)).facts["own_settings"] == []
    assert build_job(configured("recipe=paper", *words)).facts["own_settings"] == []


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"reptile"}))  # which is an optimizer
def test_a_recipe_is_the_same_for_every_method(method: str) -> None:
    """What conf/recipe/ours.yaml sets was B-STDO's own."""
    names = (
        "optim.lr",
        "optim.loss",
        "backbone.residual",
        "backbone.negative_slope",
        "patches.halo",
    )

    def recipe(*words: str) -> list[object]:
        config = configured(f"method={method}", "backbone=espcn", *words)
        return [OmegaConf.select(config, name) for name in names]

    assert recipe("recipe=ours") == [0.05, "l2", "bicubic", 0.1, 2]
    assert recipe("recipe=paper") == [0.001, "l1", "none", 0, 0]
    assert recipe() == recipe("recipe=ours" if method == "bstdo" else "recipe=paper")
    assert recipe("recipe=ours", "optim=adam")[:2] == [0.001, "l2"]


def test_whole_video_methods_ignore_the_number_of_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = [build_job(configured("method=awdnn", f"chunks={chunks}")) for chunks in (2, 5)]
    assert jobs[0].directory == jobs[1].directory
    assert jobs[0].facts["chunks"] == 1


@pytest.mark.parametrize(
    "target",
    [
        "builtins.exec",
        "os.system",
        "stdo.core.files.os.system",
        "stdo.core.provenance.subprocess.run",
    ],
)
def test_a_target_that_our_packages_do_not_define_is_refused(target: str) -> None:
    config = configured()
    config.optim.optimizer._target_ = target
    with pytest.raises(UserError, match=f"_target_={target}: must be defined in"):
        build_job(config)


def test_lists_must_have_a_number_for_each_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = "video.path=nowhere.mp4"  # not even looked for
    with pytest.raises(
        UserError, match=r"sampler.ratios=\[1, 0.5\]: must be 4 numbers, one for each chunk"
    ):
        build_job(configured("method=jstdo", "sampler.ratios=[1,0.5]", missing))
    with pytest.raises(UserError, match=r"sampler.weights=\[1\]: must be 3 numbers"):
        build_job(configured("chunks=3", "sampler=weighted", "sampler.weights=[1]", missing))
    build_job(
        configured("method=awdnn", "sampler=decay", "sampler.ratios=[0.5]", "video.max_frames=2")
    )


def test_some_chunk_must_have_a_network_and_easy_ones_be_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = "video.path=nowhere.mp4"  # not even looked for
    with pytest.raises(
        UserError, match=r"^sharing.bicubic_chunks=4: must be less than the number of chunks, 4$"
    ):
        build_job(configured("sharing.bicubic_chunks=4", missing))
    with pytest.raises(
        UserError,
        match=(
            r"^sharing.bicubic_chunks=1: must be 0 with chunking=time, "
            r"which knows no easy chunks$"
        ),
    ):
        build_job(configured("method=nas", "sharing.bicubic_chunks=1", missing))
    for sharing in ("single", "independent", "modulated"):
        job = build_job(configured("method=stdo", f"sharing={sharing}", "sharing.bicubic_chunks=3"))
        assert job.sharing(4).served == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chunking.thresholds=[24,31,27]"], r"chunking.thresholds=\[24, 31, 27\]: must rise"),
        (["chunking.thresholds=[24,27]"], r"chunking.thresholds=\[24, 27\]: must be 3 numbers"),
        (["chunking.thresholds=[1,2,3]", "scorer=dct"], "must be null with scorer=dct"),
    ],
)
def test_thresholds_are_checked_before_the_video_is_looked_for(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_job(configured("method=stdo", "video.path=nowhere.mp4", *words))


def test_the_width_reaches_the_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = build_job(configured("backbone=espcn", "backbone.width=0.5"))
    assert (job.sharing(4).network(3).width, job.facts["backbone"]) == (0.5, "espcn-0.5")


def test_every_run_has_what_a_run_directory_must_have() -> None:
    assert set(CONFIG_KEYS) <= set(configured())


def test_a_run_of_another_version_says_so(tmp_path: Path) -> None:
    config = configured()
    del config.video, config.patches
    OmegaConf.save(config, tmp_path / "config.yaml", resolve=True)
    with pytest.raises(
        UserError, match=f"run={tmp_path}: is of another version \\(no patches, video in its config"
    ):
        load_config(tmp_path)
