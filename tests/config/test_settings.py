"""What settings become before anything is checked: whole numbers, and the home in place of ~."""

from pathlib import Path

import pytest

from stdo.config.settings import (
    ALL_TEXTS,
    LISTS_OF_TEXTS,
    PATHS,
    check,
    one_form,
    settle,
    whole_numbers,
)
from stdo.core.types import UserError
from stdo.runs.settings import SETTINGS


@pytest.mark.parametrize(
    ("key", "given", "meant"),
    [
        ("scale", 2.0, 2), ("chunks", 3.0, 3), ("seed", 0.0, 0), ("weights.bits", 8.0, 8),
        ("network", 1.0, 1), ("sharing.bicubic_chunks", 2.0, 2), ("video.height", 540.0, 540),
        ("patches.halo", 2.0, 2), ("budget.batch", 4.0, 4),
        ("sampler.size", 3.0, 3), ("sampler.size", 1.0, 1.0), ("chunks", 1.5, 1.5),
        ("budget.passes", 1.0, 1.0), ("backbone.width", 1.0, 1.0), ("scale", True, True),
    ],
)  # fmt: skip
def test_whole_numbers_are_whole_where_they_are_asked_for(
    key: str, given: object, meant: object
) -> None:
    config: dict = {}
    node = config
    *folders, name = key.split(".")
    for part in folders:
        node = node.setdefault(part, {})
    node[name] = given
    whole_numbers(config)
    assert (type(node[name]), node[name]) == (type(meant), meant)


def test_a_choice_of_numbers_takes_no_other_form_unasked() -> None:
    """2.0 equals 2 and passed once, to fail where it was an index."""
    with pytest.raises(UserError, match=r"^scale=2.0: must be one of 2, 3, 4$"):
        check({"scale": 2.0})


def test_equal_numbers_have_one_form() -> None:
    forms = {
        "own.a": ([1.0, 2.5, True], [1, 2.5, True]),
        "own.b": (float("inf"), float("inf")),
        "own.c": (None, None),
        "budget.passes": (2, 2.0),
        "sampler.size": (1, 1),
        "init.sampler.size": (1.0, 1.0),
        "sampler.ratios": ([1, 0.5, 0], [1.0, 0.5, 0.0]),
    }
    for name, (given, meant) in forms.items():
        assert repr(one_form(name, given)) == repr(meant)


def test_settings_that_take_texts_are_found_by_their_rules() -> None:
    expected = (
        "video.path video.paths video.root video.pattern run runs out paths.outputs paths.cache "
        "study name title"
    )
    assert {
        *expected.split(),
        "init.weights",
        "scorer.weights",
        "logger.project",
        "logger.tags",
    } <= ALL_TEXTS
    assert not ALL_TEXTS & {
        "scale",
        "chunks",
        "trainer.precision",
        "logger.mode",
        "sharing.bicubic_chunks",
        "force",
    }
    assert {"runs", "video.paths", "logger.tags", "plot.by"} == LISTS_OF_TEXTS
    assert set(PATHS) <= ALL_TEXTS <= set(SETTINGS)


def test_the_home_is_put_into_paths_once_and_into_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "~here"
    monkeypatch.setenv("HOME", str(home))
    config = {
        "video": {"path": "~/clip.mkv", "paths": ["~/a.mkv", "b.mkv"]}, "runs": ["~", "x/~/y"],
        "name": "~/kept", "paths": {"outputs": "~", "cache": "./~/cache"}, "run": "~draft.mkv",
        "out": "~root/x", "title": "~",
    }  # fmt: skip
    settle(config)
    settle(config)
    assert config == {
        "video": {"path": f"{home}/clip.mkv", "paths": [f"{home}/a.mkv", "b.mkv"]},
        "runs": [str(home), "x/~/y"], "name": "~/kept",
        "paths": {"outputs": str(home), "cache": "./~/cache"}, "run": "~draft.mkv",
        "out": f"{Path('~root').expanduser()}/x", "title": "~",
    }  # fmt: skip


@pytest.mark.parametrize("key", PATHS)
def test_a_name_that_no_disk_holds_is_refused_at_once(key: str) -> None:
    *folders, name = key.split(".")
    for path, good in (
        ("x" * 255, True),
        ("ä" * 128, False),
        (f"here/{'x' * 256}/clip.mkv", False),
    ):
        config: dict = {}
        node = config
        for part in folders:
            node = node.setdefault(part, {})
        node[name] = [path] if key == "video.paths" else path
        if good:
            settle(config)
            continue
        with pytest.raises(
            UserError, match=rf"^{key}=.*: a name of 256 bytes: must be at most 255"
        ):
            settle(config)
    settle({"scorer": {"weights": f"https://host/{'x' * 300}"}})


def test_without_a_home_no_folder_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    # As in a container whose user has no entry
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    with pytest.raises(UserError, match=r"^paths.outputs=~/runs: no home folder is known"):
        settle({"paths": {"outputs": "~/runs"}})
