"""The schema of settings: conf/ and the schema have the same settings, and what follows from it
follows for each."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from stdo.config.composed import configured
from stdo.config.errors import one_line
from stdo.config.jobs import run_directory
from stdo.config.settings import check
from stdo.config.trust import conf_dir
from stdo.config.words import as_meant
from stdo.core.types import UserError
from stdo.runs.setting import Role
from stdo.runs.settings import FORMER, SETTINGS, flat, role_of
from stdo.training.options import HONOURED

CONF = conf_dir()
COMMANDS = ("train", "evaluate", "deliver", "export", "catalogue", "report", "dashboard")
WIRING = ("_target_", "_partial_", "_convert_")
BUILT = (
    "backbone.network.",
    "scorer.measure.",
    "chunking.split.",
    "optim.optimizer.",
    "optim.schedule.",
    "logger.wandb.",
    "callbacks.",
)
"""Parts of conf/ that hand settings on to a class."""
OPEN = ("trainer.", "hydra.", "passes_at.")
"""Settings of Lightning's Trainer, of Hydra and of our experiments: any name."""


@cache
def composed(*words: str, command: str = "train") -> DictConfig:
    """The configuration of a command; to be copied by whoever changes it."""
    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        return compose(command, list(words))


def names(config: DictConfig, above: str = "") -> set[str]:
    plain = OmegaConf.to_container(config, resolve=False)
    found = {name for name, _ in flat(plain, above) if name.rpartition(".")[2] not in WIRING}
    return {name for name in found if not name.endswith("defaults")}


def settings_of(file: Path, package: str) -> set[str]:
    """The settings that a file of conf/ names itself."""
    whole = "@package _global_" in file.read_text(encoding="utf-8")
    return names(OmegaConf.load(file), "" if whole or not package else f"{package}.")


def choices() -> dict[str, set[str]]:
    found = {}
    for file in sorted(CONF.glob("*/*.yaml")):
        group, option = file.parent.name, file.stem
        found[f"{group}={option}"] = settings_of(file, group)
        if group == "sampler":
            found[f"sampler@init.sampler={option}"] = settings_of(file, "init.sampler")
    return found


CHOICES = choices()
EVERY = CHOICES | {each: settings_of(CONF / f"{each}.yaml", "") for each in COMMANDS}
"""The settings of every choice and every command."""


@pytest.mark.parametrize("words", EVERY)
def test_conf_has_no_setting_that_the_schema_lacks(words: str) -> None:
    unknown = {
        name for name in EVERY[words] - SETTINGS.keys() if not name.startswith((*BUILT, *OPEN))
    }
    assert unknown <= {"sharing.seed", "degrade.scale"}, "handed on"


def test_the_schema_has_no_setting_that_conf_lacks() -> None:
    given = {f"trainer.{name}" for name in HONOURED}  # Lightning's own, typed as they are
    assert SETTINGS.keys() - given == (SETTINGS.keys() - given) & set().union(*EVERY.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_are_allowed(command: str) -> None:
    needed = {"evaluate": ["run=x"], "deliver": ["run=x"], "export": ["run=x"]}
    check(composed(*needed.get(command, []), command=command))


@pytest.mark.parametrize("name", SETTINGS)
def test_help_is_one_short_line(name: str) -> None:
    text = SETTINGS[name].help
    assert 5 < len(text) <= 100 and "\n" not in text and not text.endswith(".")


def other(value: Any) -> Any:
    """A value of the same type that is another."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 or 0.5
    return [1.0, 0.5, 0.25, 0.125] if value is None or isinstance(value, list) else f"{value}x"


@pytest.mark.parametrize(
    "name", sorted(set().union(*CHOICES.values(), EVERY["train"]) & SETTINGS.keys())
)
def test_a_run_has_a_directory_of_its_own_for_what_changes_its_result_alone(name: str) -> None:
    # What a method or an experiment changes, another choice has
    parts = [each for each in CHOICES if not each.startswith(("method=", "experiment="))]
    words = next((each for each in parts if name in CHOICES[each]), "seed=0")
    source = SimpleNamespace(
        fingerprint=lambda: "0123456789abcdef", info=SimpleNamespace(name="clip")
    )
    needed = ["init.weights=w", "scorer.weights=w", "scorer.function=f:g"]
    given = [need for need in needed if need.partition("=")[0] in CHOICES.get(words, ())]
    config = composed("init=warm", words, *given).copy()
    OmegaConf.set_struct(config, False)
    for key, value in flat(OmegaConf.to_container(config)):
        if value == "???":
            OmegaConf.update(config, key, "x")
    assert OmegaConf.select(config, name, default="missing") != "missing"
    config.name, config.paths.outputs = "same", "outputs"
    OmegaConf.resolve(config)
    before = run_directory(config, source).name
    OmegaConf.update(config, name, other(OmegaConf.select(config, name)))
    if name in ("name", "paths.outputs"):
        config.name = "same"
    # The video enters by its content
    changes = role_of(name) is not Role.NONE and not name.startswith("video.")
    assert (run_directory(config, source).name != before) == changes


class TestFormerNames:
    def test_each_leads_to_a_setting_of_now(self) -> None:
        assert set(FORMER.values()) <= SETTINGS.keys()
        assert not FORMER.keys() & SETTINGS.keys()

    @pytest.mark.parametrize("name", FORMER)
    @pytest.mark.parametrize("form", ["{}=1", "+{}=1,2", "~{}"])
    def test_the_command_line_takes_it_with_a_note(
        self, name: str, form: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert as_meant([form.format(name)]) == [form.format(FORMER[name])]
        assert capsys.readouterr().err == f"note: {name} is called {FORMER[name]} now\n"

    def test_python_takes_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert configured({"backbone.leak": 0.25}).backbone.negative_slope == 0.25
        note = "note: backbone.leak is called backbone.negative_slope now\n"
        assert capsys.readouterr().err == note

    def test_configurations_of_before_read_as_those_of_now(self) -> None:
        before = {
            "backbone": {"leak": 0.1, "network": {"leak": 0.1}, "quick": {"lr": 1e-3}},
            "optim": {"rest": 0.1, "optimizer": {"rest": 0.1}},
            "init": {"sampler": {"work": [1, 2]}},
        }
        now = {
            "backbone.negative_slope": 0.1, "backbone.network.negative_slope": 0.1,
            "optim.adam_lr": 0.1, "optim.optimizer.adam_lr": 0.1,
            "init.sampler.step_shares": [1, 2],
        }  # fmt: skip
        found = dict(flat(before))
        assert {name: found[name] for name in found if role_of(name) is not Role.NONE} == now


def test_a_misspelt_setting_is_told_what_was_meant() -> None:
    with pytest.raises(Exception, match="budget.pases") as refused:
        composed("budget.pases=3")
    assert one_line(refused.value) == (
        "budget.pases: no such setting; did you mean budget.passes?; --help lists them"
    )
    with pytest.raises(Exception, match="espnc") as refused:
        composed("backbone=espnc")
    assert one_line(refused.value).endswith(
        "must be one of ecbsr, ecbsr_small, edsr, espcn, fsrcnn, srcnn, vdsr, wdsr; "
        "did you mean espcn?"
    )


def test_a_budget_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "budget").mkdir()
    (tmp_path / "budget" / "mine.yaml").write_text(
        "name: mine\npasses: 3\nbatch: 8\nlr: 2.0e-3\nwarmup: 0.0\nfull_steps: 0\n"
    )
    words = [
        "--config-dir",
        str(tmp_path),
        "budget=mine",
        "method=stdo",
        "--cfg",
        "job",
        "--resolve",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "stdo.train", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = OmegaConf.create(done.stdout)
    assert (found.budget.passes, found.optim.optimizer.lr) == (3, 2e-3)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_every_setting_of_a_command_with_its_default(
    command: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"stdo.{command}", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = {line.partition("=")[0]: line for line in done.stdout.splitlines()}
    for name in names(composed(command=command)) & SETTINGS.keys():
        assert name in lines
    assert ("Choices (group=choice):" in done.stdout) == (command == "train")
    assert f"python -m stdo.{command} " in done.stdout
    if command == "train":
        assert (
            " ".join(lines["scale"].split()) == "scale=4 enlargement of each side (one of 2, 3, 4)"
        )
        assert lines["weights.bits"].startswith("weights.bits=8 ")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_name_that_is_no_utf8_is_a_text_or_refused(name: str) -> None:
    takes_texts = SETTINGS[name].accepts("any text")
    assert SETTINGS[name].accepts("\udcff.mp4") == takes_texts


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(UserError, match=r"^optim.lr=inf: must be a number above 0$"):
        check({"optim": {"lr": float("inf")}})
