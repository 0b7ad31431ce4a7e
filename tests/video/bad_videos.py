"""Everything that is refused, with words of the one line that says so. docs/inputs.md repeats the
table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from odd_clips import (
    changed,
    claiming,
    fifo,
    gif,
    h264,
    holding,
    joined,
    link,
    listening,
    listing,
    made,
    plain,
    png,
    qoi,
    scene,
    sound,
    with_flips,
    with_noise,
    without_data,
    y4m,
)


@dataclass(frozen=True)
class Bad:
    """make: writes it, returns what ``video.path`` is set to. says: words of the line."""

    make: Callable[[Path], Path | str]
    says: str


def typed(path: str) -> Callable[[Path], str]:
    return lambda folder: path


FRONT = {"movflags": "faststart"}
KEY = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "11" * 16,
    "encryption_kid": "22" * 16,
}
M3U8 = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\npart.ts\n#EXT-X-ENDLIST\n"
REMOTE = M3U8.replace("part.ts", "http://127.0.0.1:9/part.ts")
SDP = (
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    b"m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)
YUV444 = scene(down=1, across=1)
TEXT = b"hello\n" * 500

NO_VIDEO = "not a video that FFmpeg can read"
NO_LIST = "playlists, other lists of files, text and raw samples are not read"
NO_FRAME = "no frame of it can be decoded"
NO_URL = "URLs are not read: download it first"
DAMAGED = "damaged at about"

PLACES = {
    "nothing there": Bad(lambda folder: folder / "none.mp4", "no such file"),
    "folder": Bad(lambda folder: folder, "use video=folder"),
    "FIFO": Bad(fifo("a.mp4"), "is not a regular file"),
    "socket": Bad(listening, "is not a regular file"),
    "device": Bad(typed("/dev/zero"), "is not a regular file"),
    "symbolic link to nothing": Bad(link("nowhere"), "a symbolic link that leads nowhere"),
    "symbolic link to itself": Bad(link("link.mp4"), "a symbolic link that leads nowhere"),
    "symbolic link to a device": Bad(link("/dev/zero"), "is not a regular file"),
    "name of over 255 bytes": Bad(
        lambda folder: folder / ("a" * 300 + ".mp4"), "cannot be read (File name too long)"
    ),
    "name with a NUL": Bad(typed("a\0b.mp4"), "no such file"),
    "URL, http": Bad(typed("http://127.0.0.1:9/a.mp4"), NO_URL),
    "URL, rtsp": Bad(typed("rtsp://127.0.0.1:9/a"), NO_URL),
    "URL, file": Bad(lambda folder: plain()(folder).as_uri(), NO_URL),
    "FFmpeg protocol (concat:, lavfi:, pipe:)": Bad(typed("concat:a.mp4|b.mp4"), NO_URL),
}

CONTENTS = {
    "empty": Bad(holding("a.mp4", b""), "is empty (0 bytes)"),
    "random bytes": Bad(holding("a.mp4", np.random.default_rng(0).bytes(20000)), NO_VIDEO),
    "zeros": Bad(holding("a.mp4", bytes(20000)), NO_VIDEO),
    "text named .mp4": Bad(holding("a.mp4", TEXT), NO_VIDEO),
    "text named .txt (ANSI art to FFmpeg)": Bad(holding("a.txt", TEXT), NO_LIST),
    "sound alone": Bad(sound("a.wav"), "holds no video, only audio"),
    "sound with a cover": Bad(sound("a.mp3", cover=True), "holds no video, only audio and picture"),
    "HLS playlist": Bad(listing("a.m3u8", M3U8), NO_LIST),
    "HLS playlist that names a FIFO": Bad(
        fifo("part.ts", holding("a.m3u8", M3U8.encode())), NO_LIST
    ),
    "HLS playlist that names a URL": Bad(holding("a.m3u8", REMOTE.encode()), NO_LIST),
    "FFmpeg list of files": Bad(
        listing("a.ffconcat", "ffconcat version 1.0\nfile part.ts\n"), NO_LIST
    ),
    "session description (SDP)": Bad(holding("a.sdp", SDP), NO_LIST),
    "raw samples": Bad(holding("a.yuv", bytes(48 * 64 * 3)), NO_LIST),
    "encrypted MP4": Bad(h264("a.mp4", container=KEY), "is encrypted"),
    "8K header without data": Bad(
        changed(
            h264("a.mp4", scene(1, 4320, 7680), preset="ultrafast", container=FRONT), without_data
        ),
        NO_FRAME,
    ),
}

VAST = {
    "PNG of 16000×16000": Bad(holding("a.png", png(16000, 16000)), NO_FRAME),
    "PNG of 100000×100000": Bad(holding("a.png", png(100000, 100000)), NO_FRAME),
    "GIF of 16000×16000 in 48 bytes": Bad(holding("a.gif", gif(16000, 16000)), NO_FRAME),
    "GIF of 65535×65535": Bad(holding("a.gif", gif(65535, 65535)), NO_FRAME),
    "QOI of 16000×16000": Bad(holding("a.qoi", qoi(16000, 16000)), NO_FRAME),
    "Y4M of 16000×16000": Bad(
        holding("a.y4m", y4m(16000, 16000)), "at most 67 million pixels are read"
    ),
    "Y4M of 2000000000×2": Bad(holding("a.y4m", y4m(2000000000, 2)), NO_VIDEO),
    "raw AVI of 30000×30000": Bad(
        changed(made("a.avi", codec="rawvideo"), claiming(30000, 30000)), "67 million pixels"
    ),
}

DAMAGE = {
    "noise in the middle (H.264)": Bad(
        changed(h264("a.mkv", scene(40)), with_noise), "uses the frames before that"
    ),
    "noise in the middle (FFV1)": Bad(changed(made("a.mkv", scene(40)), with_noise), DAMAGED),
    "flipped bits (MPEG-4)": Bad(
        changed(made("a.avi", scene(40), codec="mpeg4", qscale="2"), with_flips), DAMAGED
    ),
    "flipped bits (MPEG-2)": Bad(
        changed(made("a.mpg", scene(40), codec="mpeg2video", qscale="2"), with_flips), DAMAGED
    ),
    "size that changes": Bad(
        joined("a.h264", h264("1.h264"), h264("2.h264", scene(8, 64, 64))),
        "the frames change from 64x48 to 64x64",
    ),
    "size that changes to something vast": Bad(
        joined("a.h264", h264("1.h264"), h264("2.h264", scene(1, 2304, 4096), preset="ultrafast")),
        DAMAGED,
    ),
    "colour matrix YCgCo": Bad(
        made("a.mkv", YUV444, "yuv444p", matrix="ycgco"), "colour matrix YCgCo is not supported"
    ),
    "colour matrix IPT-C2 (Dolby Vision 5)": Bad(
        made("a.mkv", YUV444, "yuv444p", matrix="ipt-c2"), "colour matrix IPT-C2 is not supported"
    ),
}

BAD: dict[str, Bad] = PLACES | CONTENTS | VAST | DAMAGE
