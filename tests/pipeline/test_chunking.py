"""Chunks in seconds: how many a video has."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from stdo.config.composed import configured
from stdo.config.jobs import build_job
from stdo.core.types import UserError
from stdo.pipeline.chunking import chunks_of
from stdo.video.sample import GeneratedClip

INFO = replace(GeneratedClip().info, frames=300, rate=Fraction(30))


@pytest.mark.parametrize(
    ("frames", "rate", "seconds", "chunks"),
    [
        (300, 30, 5, 2), (301, 30, 5, 2), (299, 30, 5, 2), (330, 30, 5, 3), (300, 30, 60, 1),
        (300, 30, 1 / 30, 298), (1, 30, 5, 1), (240, Fraction(24000, 1001), 5, 2), (50, 5, 2.5, 4),
    ],
)  # fmt: skip
def test_chunks_are_as_long_as_asked_or_shorter(
    frames: int, rate: Fraction, seconds: float, chunks: int
) -> None:
    info = replace(INFO, frames=frames, rate=Fraction(rate))
    assert chunks_of(info, seconds) == chunks
    assert frames / chunks / rate <= seconds + 2 / rate


@pytest.mark.parametrize(
    ("seconds", "changes", "said"),
    [
        (0.03, {}, "chunking.seconds=0.03: must be at least 0.0334, the length of a frame at 30 f"),
        (5, {"frames": None}, "chunking.seconds=5: the video does not say how long it is"),
        (0.04, {"frames": 10**7}, "chunking.seconds=0.04: makes 8,333,332 chunks; must make at"),
    ],
)
def test_what_cannot_be_is_refused(seconds: float, changes: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        chunks_of(replace(INFO, **changes), seconds)


def test_it_is_the_run_of_so_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = {"method": "nas", "backbone": "espcn", "video.duration": 2, "video.every": 5}
    info = build_job(configured(words | {"chunks": 2})).data.clip.info
    assert info.frames is not None
    length = float(info.frames / info.rate)
    asked = build_job(configured(words | {"chunking.seconds": length / 2}))
    assert asked.facts["chunks"] == 2
    assert asked.directory == build_job(configured(words | {"chunks": 2})).directory
    assert "-k2-" in asked.directory.name


def test_a_chunk_shorter_than_a_frame_is_one_line_before_decoding(tmp_path: Path) -> None:
    places = [f"paths.outputs={tmp_path}/outputs", f"paths.cache={tmp_path}/cache"]
    words = ["method=nas", "chunking.seconds=0.001", "trainer=cpu", *places]
    done = subprocess.run(
        [sys.executable, "-m", "stdo.train", *words],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert "chunking.seconds=0.001: must be at least 0.0" in done.stderr.splitlines()[-1]
