"""The name of a run directory: the same command finds its run again, whatever became of the code in between."""

from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir

from stdo.config.jobs import run_directory
from stdo.config.trust import conf_dir

NAMES = {
    "method=awdnn backbone=espcn": "awdnn-espcn-x4-k4-a38397bf",
    "method=nas backbone=srcnn scale=2": "nas-srcnn-x2-k4-62a3b486",
    "method=cafm backbone=edsr": "cafm-edsr-x4-k4-16e98708",
    "method=stdo sampler=turns degrade.codec=x264": "stdo-wdsr-x4-k4-71c15240",
    "method=jstdo backbone=ecbsr scorer=dct": "jstdo-ecbsr-x4-k4-2fbc0677",
    "method=bstdo": "bstdo-wdsr-x4-k4-242a9928",
}
"""As commit 61f2580 named them, before classes and settings moved; B-STDO's since it has two phases."""


@pytest.mark.parametrize("words", NAMES)
def test_a_command_still_finds_its_run(words: str) -> None:
    source = SimpleNamespace(fingerprint=lambda: "0123456789abcdef", info=SimpleNamespace(name="clip"))
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        config = compose("train", [*words.split(), "trainer.precision=32-true"])
    assert run_directory(config, source).name == NAMES[words]
