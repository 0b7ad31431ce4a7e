"""What is not a video, or only half of one, gets one line that names it."""

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import encode, flat, noise

from stdo.core.types import UserError
from stdo.video.reader import VideoFile


def complaint(path, whole: bool = False, **settings) -> str:
    act = (
        (lambda: list(VideoFile(path, **settings)))
        if whole
        else (lambda: VideoFile(path, **settings))
    )
    with pytest.raises(UserError) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    assert f"video.path={path}" in message
    return message


def audio(path, picture: bool = False):
    with av.open(str(path), "w") as out:
        cover = None
        if picture:
            cover = out.add_stream("png")
            cover.width, cover.height, cover.pix_fmt, cover.disposition = 32, 32, "rgb24", 1024
        stream = out.add_stream("libmp3lame" if picture else "pcm_s16le", rate=8000)
        if cover is not None:
            out.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), np.int16), "s16p" if picture else "s16", "mono"
        )
        sound.rate = 8000
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))
    return path


def test_paths_that_are_no_file(tmp_path):
    assert "no such file" in complaint(tmp_path / "none.mp4")
    assert "video=folder" in complaint(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in complaint(tmp_path / "pipe")
    assert "not a regular file" in complaint("/dev/zero")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert "no such file" in complaint(tmp_path / "dangling")


@pytest.mark.parametrize(
    "url", ["http://example.org/a.mp4", "concat:a.mp4|b.mp4", "lavfi:testsrc", "pipe:0"]
)
def test_urls_are_refused(url):
    assert "URL" in complaint(url)


def test_content_that_is_no_video(tmp_path):
    contents = {
        "empty.mp4": b"",
        "noise.mp4": np.random.default_rng(0).bytes(20000),
        "text.mp4": b"hello\n" * 50,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert "empty" in complaint(tmp_path / "empty.mp4")
    assert "not a video" in complaint(tmp_path / "noise.mp4")
    assert "not a video" in complaint(tmp_path / "text.mp4")


def test_audio_only_and_a_cover_is_no_video(tmp_path):
    assert "only audio" in complaint(audio(tmp_path / "a.wav"))
    assert "audio and picture" in complaint(audio(tmp_path / "a.mp3", picture=True))


def test_a_playlist_cannot_reach_out(tmp_path):
    (tmp_path / "a.m3u8").write_text(
        "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    complaint(tmp_path / "a.m3u8", whole=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = encode(tmp_path / "a.mkv", flat([50]))
    path.chmod(0)
    assert "cannot be read" in complaint(path)


def cut(path, share: float):
    content = path.read_bytes()
    short = path.with_name("cut" + path.suffix)
    short.write_bytes(content[: int(len(content) * share)])
    return short


@pytest.mark.parametrize(("suffix", "options"), [("mp4", {"movflags": "faststart"}), ("mkv", {})])
def test_a_file_cut_short_says_how_many_frames_there_are(tmp_path, suffix, options):
    frames = [noise((48, 64), seed) for seed in range(40)]
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w", options=options) as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        for seed, planes in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.stack(planes).astype(np.uint8), "yuv444p")
            frame.pts = seed
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    short = cut(path, 0.5)
    message = complaint(short, whole=True)
    decoded = int(message.split("video.max_frames=")[1].split()[0])
    assert 10 <= decoded < 30
    assert len(list(VideoFile(short, max_frames=decoded))) == decoded
    assert "cut short" in complaint(short, whole=True, start=0.2)


def test_a_file_cut_before_its_first_frame(tmp_path):
    path = encode(tmp_path / "a.mkv", [noise((96, 128))], "yuv444p")
    complaint(cut(path, 0.2))
    complaint(cut(encode(tmp_path / "b.mp4", flat([50, 60]), codec="libx264"), 0.5))


def test_frames_that_change_their_size(tmp_path):
    one, two = (
        encode(tmp_path / f"{h}.h264", flat([50, 90], h, 64), codec="libx264") for h in (48, 64)
    )
    both = tmp_path / "both.h264"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    message = complaint(both, whole=True)
    assert "64x48 to 64x64" in message
    assert "video.max_frames=2" in message


def test_nothing_but_our_line_reaches_the_terminal(tmp_path):
    short = cut(
        encode(tmp_path / "a.mkv", [noise((48, 64), seed) for seed in range(20)], "yuv444p"), 0.5
    )
    code = "import sys\nfrom stdo.video.reader import VideoFile\n"
    code += "try: list(VideoFile(sys.argv[1]))\nexcept ValueError as e: print(e)"
    done = subprocess.run(
        [sys.executable, "-c", code, short], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_an_abandoned_iteration_closes_the_file(tmp_path):
    path = encode(tmp_path / "a.mkv", flat(range(50, 90)))

    def handles() -> int:
        return sum(fd.resolve() == path.resolve() for fd in Path("/proc/self/fd").iterdir())

    frames = iter(VideoFile(path))
    next(frames)
    assert handles() == 1
    frames.close()
    assert handles() == 0
