"""Videos end to end, and every n-th frame."""

from fractions import Fraction

import numpy as np
import pytest
from video_clips import encode, flat

from stdo.core.types import UserError
from stdo.video.joined import Joined
from stdo.video.reader import VideoFile
from stdo.video.sample import GeneratedClip
from stdo.video.span import Span


@pytest.fixture
def clips(tmp_path):
    return [
        encode(tmp_path / "a.mkv", flat(range(20, 80, 10))),
        encode(tmp_path / "b.mkv", flat(range(100, 140, 10))),
    ]


def test_joined_is_one_after_the_other(clips) -> None:
    both, parts = Joined(clips), [list(VideoFile(clip)) for clip in clips]
    frames = list(both)
    assert both.info.name == "a+b"
    assert both.info.frames == len(frames) == 10
    assert [frame.pts for frame in frames] == [Fraction(i, 25) for i in range(10)]
    for got, want in zip(frames, [*parts[0], *parts[1]], strict=True):
        np.testing.assert_array_equal(got.rgb_HWC, want.rgb_HWC)
    assert both.fingerprint() != Joined(clips[::-1]).fingerprint()
    assert Joined([clips[0]]).fingerprint() != VideoFile(clips[0]).fingerprint()


def test_settings_hold_for_each_part(clips) -> None:
    both = Joined(clips, every=2, height=24)
    assert [frame.pts for frame in both] == [Fraction(2 * i, 25) for i in range(5)]
    assert both.info.frames == 5
    assert (both.info.height, both.info.rate) == (24, Fraction(25, 2))


@pytest.mark.parametrize("paths", [[], "a.mkv"])
def test_what_cannot_be_joined_is_said(paths) -> None:
    with pytest.raises(UserError, match="must be a list of video files"):
        Joined(paths)


@pytest.mark.parametrize("every", [1, 2, 3, 7, 100])
def test_every_takes_each_nth_frame_of_the_span(tmp_path, every: int) -> None:
    path = encode(tmp_path / "clip.mp4", flat(range(30, 130, 4)), codec="libx264")
    whole = list(VideoFile(path, start=0.12, duration=0.6))
    video = VideoFile(path, start=0.12, duration=0.6, every=every)
    taken = list(video)
    assert [frame.pts for frame in taken] == [frame.pts for frame in whole[::every]]
    assert all(
        np.array_equal(a.rgb_HWC, b.rgb_HWC) for a, b in zip(taken, whole[::every], strict=True)
    )
    assert len(taken) <= video.info.frames <= len(taken) + 1
    assert video.info.rate == Fraction(25, every)
    assert len(list(VideoFile(path, every=every, max_frames=2))) == min(2, -(-25 // every))


def test_every_for_the_generated_clip() -> None:
    whole = list(GeneratedClip(64, 48, frames=11))
    third = GeneratedClip(64, 48, frames=11, span=Span.of(every=3))
    assert third.info.frames == 4
    for got, want in zip(third, whole[::3], strict=True):
        np.testing.assert_array_equal(got.rgb_HWC, want.rgb_HWC)
        assert got.pts == want.pts


@pytest.mark.parametrize("every", [0, -1, 1.5, True, None])
def test_a_wrong_stride_is_named(every) -> None:
    with pytest.raises(UserError, match=f"video.every={every}: must be a whole number, 1 or more"):
        Span.of(every=every)
