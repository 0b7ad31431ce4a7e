"""The name of a run directory: the same command finds its run again, whatever became of the code in
between."""

from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir

from stdo.config.jobs import run_directory
from stdo.config.trust import conf_dir

NAMES = {
    "method=awdnn backbone=espcn": "awdnn-espcn-x4-k4-c7e7ef6a",
    "method=nas backbone=srcnn scale=2": "nas-srcnn-x2-k4-bb41a786",
    "method=cafm backbone=edsr": "cafm-edsr-x4-k4-6969dae2",
    "method=stdo sampler=turns degrade.codec=x264": "stdo-wdsr-x4-k4-78260e99",
    "method=jstdo backbone=ecbsr scorer=dct": "jstdo-ecbsr-x4-k4-af6fc594",
    "method=bstdo": "bstdo-wdsr-x4-k4-a47c7b47",
}
"""As version 0.1.0 names them: by every setting that shapes the result."""


@pytest.mark.parametrize("words", NAMES)
def test_a_command_still_finds_its_run(words: str) -> None:
    source = SimpleNamespace(
        fingerprint=lambda: "0123456789abcdef", info=SimpleNamespace(name="clip")
    )
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        config = compose("train", [*words.split(), "trainer.precision=32-true"])
    assert run_directory(config, source).name == NAMES[words]
