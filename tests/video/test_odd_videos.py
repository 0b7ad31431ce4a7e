"""Odd videos give the right frames, judged by FFmpeg's own filters; what cannot be read gives one
line."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.error import InvalidDataError
from bad_videos import BAD, Bad
from inputs_page import PAGE, page
from odd_clips import h264, joined
from odd_videos import ODD, Odd

from stdo.core.types import UserError
from stdo.video.degrade import Degrade
from stdo.video.reader import VideoFile
from stdo.video.store import prepare

EXACT = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
CHROMA_ON_THE_LEFT = ("h264", "hevc", "mpeg2video", "mpeg4")
"""Codecs whose standards place a chroma sample on the left one of its two luma samples, unless told
otherwise."""


def scaled(odd: Odd, codec: str, frame: av.VideoFrame) -> str:
    """Arguments of the scale filter, which is told everything and guesses nothing."""
    if odd.matrix == "rgb":
        return EXACT
    told = (
        f"{EXACT}:in_color_matrix={odd.matrix}"
        f":in_range={'tv' if odd.span == 'limited' else 'pc'}:out_range=pc"
    )
    if codec in CHROMA_ON_THE_LEFT and frame.format.chroma_width(2) == 1:
        told += ":in_h_chr_pos=0"
        if not frame.interlaced_frame and frame.format.chroma_height(2) == 1:
            told += ":in_v_chr_pos=128"
    return f"{told}:interl={int(frame.interlaced_frame)}"


def judged(path: Path, odd: Odd) -> list[np.ndarray]:
    """The frames as FFmpeg's filters turn and convert them."""
    pictures = []
    with path.open("rb") as file, av.open(file) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except InvalidDataError:
                continue
            for frame in frames:
                scale = ("scale", scaled(odd, stream.codec.name, frame))
                pictures.append(filtered(frame, [scale, *odd.filters, ("format", "rgb24")]))
    return pictures


def filtered(frame: av.VideoFrame, filters: list[tuple[str, str]]) -> np.ndarray:
    graph = av.filter.Graph()
    node = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
    )
    for name, arguments in [*filters, ("buffersink", "")]:
        following = graph.add(name, arguments or None)
        node.link_to(following)
        node = following
    graph.configure()
    graph.push(frame)
    return graph.pull().to_ndarray().astype(int)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_the_right_frames_at_the_right_times(tmp_path: Path, odd: Odd) -> None:
    path = odd.make(tmp_path)
    video = VideoFile(path)
    frames = list(video)
    assert [frame.pts for frame in frames] == [tick * odd.tick for tick in odd.times]
    expected = judged(path, odd)
    assert len(frames) == len(expected) <= video.info.frames
    for ours, theirs in zip(frames, expected, strict=True):
        assert ours.rgb_HWC.shape == (*odd.size, 3) == (video.info.height, video.info.width, 3)
        assert np.abs(ours.rgb_HWC - theirs).max() <= 1
    assert len(video.info.notes) == len(odd.notes), video.info.notes
    for words, note in zip(odd.notes, video.info.notes, strict=True):
        assert words in note


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_the_frames_are_prepared(tmp_path: Path, odd: Odd) -> None:
    video = VideoFile(odd.make(tmp_path))
    prepared = prepare(video, tmp_path / "cache", Degrade(2))
    assert prepared.pts == [tick * odd.tick for tick in odd.times]
    for t, frame in enumerate(video):
        assert np.array_equal(prepared.hr[t][: odd.size[0], : odd.size[1]], frame.rgb_HWC)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_one_line_and_nothing_left(tmp_path: Path, bad: Bad) -> None:
    path, cache = bad.make(tmp_path), tmp_path / "cache"
    with pytest.raises(UserError) as caught:
        prepare(VideoFile(path), cache, Degrade(2))
    message = str(caught.value)
    assert message.startswith(f"video.path={path}: ")
    assert bad.says in message
    assert "\n" not in message
    assert {file.name for file in cache.rglob("*") if file.is_file()} <= {".lock"}


def test_a_pattern_does_not_read_the_pictures_that_it_fits(tmp_path: Path) -> None:
    path = ODD["name that looks like a pattern"].make(tmp_path)
    (tmp_path / "a001.png").write_bytes(b"another picture")
    assert len(list(VideoFile(path))) == 1


def test_each_frame_is_converted_by_its_own_colour_tags(tmp_path: Path) -> None:
    parts = [h264("part.h264", matrix=matrix, span="limited") for matrix in ("bt601", "bt709")]
    video = VideoFile(joined("a.h264", *parts)(tmp_path))
    frames = [frame.rgb_HWC for frame in video]
    alone = [frame.rgb_HWC for part in "01" for frame in VideoFile(tmp_path / part / "part.h264")]
    assert np.array_equal(frames, alone)
    assert "1 times the colour tags change on the way" in video.info.notes[-1]


def test_the_page_of_inputs_repeats_the_tables() -> None:
    text = PAGE.read_text()
    assert text == page(text), "python tests/video/inputs_page.py writes it"
