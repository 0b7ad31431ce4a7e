"""What a catalogue will cost, told beforehand."""

import dataclasses
import re
from pathlib import Path

import pytest
from catalogues import TINY, catalogue, statuses
from tiny_job import tiny_clip

from stdo.cli.forecast import FRAMES, Sample, Size, _cost, _lengths, _line, _spread
from stdo.cli.task import Task


def test_of_very_many_videos_some_of_all_sizes_are_opened(tmp_path: Path) -> None:
    tasks = []
    for n in range(50):
        (tmp_path / f"{n}.mkv").write_bytes(b"x" * (n * 7 % 50))
        tasks.append(Task("out", f"{n}", str(tmp_path / f"{n}.mkv"), "r", {}))
    assert _spread(tasks, 50) == tasks
    sizes = [Path(each.video).stat().st_size for each in _spread(tasks, 5)]
    assert sizes == [5, 15, 25, 35, 45]


def test_a_plan_counts_a_network_for_each_chunk_of_the_whole_length() -> None:
    chunking = {"name": "time", "seconds": None}
    assert _lengths({"chunking": chunking, "chunks": 4}) == list(FRAMES)
    assert _lengths({"chunking": chunking, "chunks": 20}) == [24, 96, 384]
    assert _lengths({"chunking": chunking | {"name": "score"}, "chunks": 20}) == list(FRAMES)
    two = Sample(10, 10, 1.0, 1.0, 100, 50.0, 500.0, chunks=2, sent=30.0, saved=40.0)
    size = Size(frames=100, pixels=100, patches=10, seconds=4.0, prepared=0)
    assert _cost([{"a": two}], size, 1.0).bytes == 1000 + 50 + 2 * 30
    longer = _cost([{"a": two}], dataclasses.replace(size, chunks=20), 1.0)
    assert (longer.bytes, longer.kept) == (1000 + 50 + 20 * 30, 5000 + 20 * 40)


def test_a_line_through_two_samples_never_falls() -> None:
    assert _line(10, 5.0, 20, 7.0, 100) == pytest.approx(23.0)
    assert _line(10, 5.0, 20, 4.0, 100) == pytest.approx(20.0), "in proportion, where noise rules"


@pytest.mark.slow
def test_a_plan_is_near_what_comes(tmp_path: Path) -> None:
    for seed in range(3):
        tiny_clip(tmp_path / "films" / f"{seed}.mkv", seed, frames=40 + 20 * seed)
    words = [*TINY, "budget.passes=20", "workers=1"]
    code, plan, err = catalogue(tmp_path, *words, "plan")
    assert code == 0, err
    assert not (tmp_path / "made").exists(), "a plan leaves nothing"
    assert "3 videos: 0 done, 3 to encode" in plan
    largest = 3 * 80 * (64 * 48 + 32 * 24) / 1e6
    assert f"{largest:.1f} MB of prepared videos" in plan, "one at a time"
    assert catalogue(tmp_path, *words)[0] == 0
    done = statuses(tmp_path / "made").values()
    planned = re.search(r"work +([\d.]+) core-hours.*\npackages +([\d.]+) MB", plan)
    assert planned is not None
    size = sum(each["bytes"] for each in done)
    assert float(planned[1]) > 0  # how near it is depends on what else runs: docs/scale.md
    assert size / 1.5e6 < float(planned[2]) < size * 1.5e-6
    assert catalogue(tmp_path, *words, "plan")[1] == "3 videos: all done\n"
