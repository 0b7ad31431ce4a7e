"""`make studies`: every study is in its list, in commands that compose."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import studies
from studies import LIST, ROOT, clip, main, sweeps

from stdo.config.studies import expanded

CLIPS = ("game_a.mp4", "city_b.MP4", "sports_c.mkv", "vlog-d.webm", "gamer.mp4", "game.txt")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    commands: list[tuple[str, ...]] = []

    def run(command: str, words: Sequence[str]) -> int:
        commands.append((command, *words))
        return int("study=table4" in words and command == "train")

    monkeypatch.setattr(studies, "run", run)
    return commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in CLIPS:
        (tmp_path / name).touch()
    return tmp_path


def test_every_study_is_in_the_list() -> None:
    listed = {each.study for each in sweeps(LIST.read_text())}
    assert listed == {path.parent.name for path in ROOT.glob("experiments/*/study.yaml")}


def test_all_commands_are_those_of_studies_and_are_reported(
    ran: list[tuple[str, ...]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "trainer=cpu", "paths.outputs=there"]) == 1
    err = capsys.readouterr().err
    assert err.endswith("failed: table4, game\n")
    trained = [words for command, *words in ran if command == "train"]
    expected = [each for each in sweeps(LIST.read_text()) if not each.named]
    assert len(trained) == err.count("\n== ") == sum(len(each.clips) for each in expected)
    for words in trained:
        assert "trainer=cpu" in words
        assert any(word.startswith("method=") or "method" in word for word in expanded(words))
    assert [f"video.path={folder}/vlog-d.webm" in words for words in trained].count(True) == 2
    joined = next(words for words in trained if "video=joined" in words)
    assert f"video.paths=['{folder}/game_a.mp4','{folder}/vlog-d.webm']" in joined
    reports = [words for command, *words in ran if command == "report"]
    assert ["study=table2", "paths.outputs=there"] in reports
    assert len(reports) == len({each.study for each in expected})


def test_a_part_is_named(ran: list[tuple[str, ...]], folder: Path) -> None:
    assert main([str(folder), "fig7a_chunks", "seed=5"]) == 0
    assert {words[0] for _, *words in ran} == {"study=fig7a_chunks"}
    assert ran[0][-1] == "seed=5"  # after the list's own


def test_a_long_study_runs_when_it_is_named(ran: list[tuple[str, ...]], folder: Path) -> None:
    assert main([str(folder), "paper_length"]) == 0
    trained = [words for command, *words in ran if command == "train"]
    assert len(trained) == 3
    assert ["method=nas" in words for words in trained] == [False, True, False]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "no folder is named; make studies CLIPS=folder"),
        ([""], "no folder is named"),
        (["nowhere"], "nowhere: no such folder"),
        (["."], "must hold one video whose name begins with game, has none"),
        (["FOLDER", "table9"], "table9: not in experiments/all.txt"),
    ],
)
def test_mistakes(
    words: list[str], line: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(SystemExit, match=line):
        main([str(folder) if word == "FOLDER" else word for word in words])


def test_a_clip_is_found_by_the_beginning_of_its_name(folder: Path) -> None:
    assert clip(folder, "game").name == "game_a.mp4"
    (folder / "game b.mp4").touch()
    with pytest.raises(SystemExit, match=r"begins with game, has game b\.mp4, game_a\.mp4"):
        clip(folder, "game")
