"""Every kind of odd video that is read, with what must come of it. docs/inputs.md repeats the
table."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from odd_clips import (
    COUNT,
    SIZE,
    Make,
    changed,
    claiming,
    h264,
    held,
    joined,
    layered,
    linked,
    made,
    packed,
    picture,
    plain,
    renamed,
    scene,
    sound,
    streams,
    with_cover,
    without_start,
)


@dataclass(frozen=True)
class Odd:
    """What must come of a video.

    make: writes it. yields: what comes of it, for docs/inputs.md. notes: words of each note that
        the user is shown.
    size: rows and columns. times: of its frames, in ticks of ``tick`` seconds. matrix, span: how
        its samples are to be understood; ``rgb`` as they are. filters: of FFmpeg, that turn its
        frames upright.
    """

    make: Make
    yields: str
    notes: Sequence[str] = ("no colour matrix is tagged",)
    size: tuple[int, int] = SIZE
    times: Sequence[int] = range(COUNT)
    tick: Fraction = Fraction(1, 25)
    matrix: str = "bt601"
    span: str = "limited"
    filters: Sequence[tuple[str, str]] = ()


def rgb(make: Make, yields: str, notes: Sequence[str] = (), **expected) -> Odd:
    return Odd(make, yields, notes, matrix="rgb", span="full", **expected)


def tagged(
    make: Make, matrix: str, yields: str = "RGB by this matrix", notes: Sequence[str] = ()
) -> Odd:
    return Odd(make, yields, notes, matrix=matrix)


UNTAGGED = "no colour matrix is tagged"
NO_TIMES = "no time stamps"
ALPHA = "transparency (alpha) is dropped"
INTERLACED = "interlaced"

VARIABLE = [0, 1001, 3003, 3004, 9009, 90000, 90001, 123456]
DAY = [*range(4), *range(2160000, 2160004)]
REPEATED = [0, 40, 40, 40, 120, 160, 200, 240]
DROPPED = [0, 1, 2, 5, 6, 7, 8, 12]
OPEN_GOP = {"x264-params": "open-gop=1:scenecut=0:keyint=6:min-keyint=6:bframes=2"}
BROADCAST = h264("a.ts", scene(24), g="12", bf="0", **{"x264-params": "scenecut=0"})
HDR = {
    "frames": scene(bits=10),
    "pixel_format": "yuv420p10le",
    "matrix": "bt2020",
    "span": "limited",
}
FULL_444 = scene(down=1, across=1)

TIME = {
    "one frame": Odd(h264("a.mp4", scene(1)), "a video of one frame", times=[0]),
    "variable rate": Odd(
        h264("a.mp4", pts=VARIABLE, base=Fraction(1, 90000)),
        "the file's times, exact",
        times=VARIABLE,
        tick=Fraction(1, 90000),
    ),
    "a gap of a day": Odd(made("a.mkv", pts=DAY), "the file's times", times=DAY),
    "times that repeat": Odd(
        made("a.mkv", pts=REPEATED, base=Fraction(1, 1000)),
        "times moved apart by the file's tick",
        (UNTAGGED, "2 time stamps were repeated"),
        times=[0, 40, 41, 42, 120, 160, 200, 240],
        tick=Fraction(1, 1000),
    ),
    "two recordings end to end (MPEG-TS)": Odd(
        joined("a.ts", h264("1.ts", scene(30)), h264("2.ts", scene(30))),
        "both, one after the other",
        (UNTAGGED, "1 time stamps were repeated or ran backwards"),
        times=range(60),
    ),
    "times that begin at 10 s": Odd(made("a.mkv", pts=range(250, 258)), "times from 0"),
    "times that begin before 0": Odd(made("a.nut", pts=range(-3, 5)), "times from 0"),
    "edit list that trims the start": Odd(
        h264("a.mp4", pts=range(-3, 5), bf="0"), "what it leaves", times=range(5)
    ),
    "edit list that delays the start": Odd(h264("a.mp4", pts=range(5, 13)), "times from 0"),
    "B-frames": Odd(h264("a.mp4", bf="3"), "the order of showing"),
    "B-frames in AVI": Odd(h264("a.avi", bf="3"), "the order of showing"),
    "open GOP": Odd(h264("a.ts", scene(24), **OPEN_GOP), "all frames", times=range(24)),
    "no key frame at the start": Odd(
        changed(BROADCAST, without_start), "from the first on", times=range(12)
    ),
    "frames dropped in AVI": Odd(
        made("a.avi", codec="mpeg4", pts=DROPPED, qscale="2"), "the file's times", times=DROPPED
    ),
    "H.264 without a container": Odd(h264("a.h264"), "the average rate", (UNTAGGED, NO_TIMES)),
    "a picture held at the end": Odd(
        held("a.mkv"), "shown as long as in the file", tick=Fraction(1, 10)
    ),
    "sound longer than the video": Odd(sound("a.mp4", video=True), "the video"),
}

SHAPE = {
    "1×1 pixels": Odd(
        made("a.mkv", scene(8, 1, 1, 1, 1), "yuv444p"),
        "itself; too small to cut patches",
        size=(1, 1),
    ),
    "3×5 pixels": Odd(
        h264("a.mp4", scene(8, 5, 3, 1, 1), "yuv444p"),
        "itself; too small to cut patches",
        size=(5, 3),
    ),
    "odd size, 4:2:0": Odd(
        made("a.mkv", scene(8, 35, 51)), "itself; padded within, cropped again", size=(35, 51)
    ),
    "rotated by 90": Odd(
        h264("a.mp4", rotation=(90,)),
        "upright",
        (UNTAGGED, "rotated 90 degrees"),
        size=(64, 48),
        filters=[("transpose", "cclock")],
    ),
    "rotated by 180": Odd(
        h264("a.mp4", rotation=(180,)),
        "upright",
        (UNTAGGED, "rotated 180 degrees"),
        filters=[("hflip", ""), ("vflip", "")],
    ),
    "rotated by 270": Odd(
        h264("a.mp4", rotation=(-90,)),
        "upright",
        (UNTAGGED, "rotated 270 degrees"),
        size=(64, 48),
        filters=[("transpose", "clock")],
    ),
    "rotated by 30": Odd(
        h264("a.mp4", rotation=(30,)),
        "as stored",
        (UNTAGGED, "a rotation of 30 degrees is not applied"),
    ),
    "pixels that are not square": Odd(
        h264("a.mp4", **{"x264-params": "sar=2\\:1"}),
        "as stored",
        (UNTAGGED, "pixels are not square (aspect 2)"),
    ),
    "pixels that are not square, rotated by 90": Odd(
        h264("a.mp4", rotation=(90,), **{"x264-params": "sar=2\\:1"}),
        "upright",
        (UNTAGGED, "rotated 90 degrees", "pixels are not square (aspect 2)"),
        size=(64, 48),
        filters=[("transpose", "cclock")],
    ),
    "stereo, side by side": Odd(
        h264("a.mp4", **{"x264-params": "frame-packing=3"}), "as stored, marked as such"
    ),
    "stereo, rotated by 180": Odd(
        h264("a.mp4", **{"x264-params": "frame-packing=3"}, rotation=(180,)),
        "upright",
        (UNTAGGED, "rotated 180 degrees", "how two eyes share a frame"),
        filters=[("hflip", ""), ("vflip", "")],
    ),
    "interlaced, H.264": Odd(
        h264("a.mp4", **{"x264-params": "tff=1:interlaced=1"}),
        "fields woven together",
        (INTERLACED, UNTAGGED),
    ),
    "interlaced, MPEG-2": Odd(
        made("a.mpg", codec="mpeg2video", flags="+ildct+ilme", qscale="2"),
        "fields woven together",
        (INTERLACED, UNTAGGED),
    ),
    "header with a wrong size": Odd(
        changed(made("a.avi", codec="mpeg4", qscale="2"), claiming(30000, 30000)),
        "the size of the frames",
    ),
    "two video streams": Odd(
        streams("a.mkv", [SIZE, (24, 32)]), "the first", (UNTAGGED, "2 video streams")
    ),
    "video with a cover": Odd(with_cover, "the video"),
}

COLOUR = {
    "BT.601": tagged(h264("a.mp4", matrix="bt601", span="limited"), "bt601"),
    "BT.709": tagged(h264("a.mp4", matrix="bt709", span="limited"), "bt709"),
    "BT.2020": tagged(h264("a.mp4", matrix="bt2020", span="limited"), "bt2020"),
    "PQ (HDR10)": tagged(
        made("a.mkv", **HDR, transfer=16), "bt2020", "code values, not tone-mapped", ["(PQ)"]
    ),
    "HLG": tagged(
        made("a.mkv", **HDR, transfer=18), "bt2020", "code values, not tone-mapped", ["(HLG)"]
    ),
    "linear light": tagged(
        made("a.mkv", matrix="bt709", span="limited", transfer=8),
        "bt709",
        "code values",
        ["linear light"],
    ),
    "full range": Odd(h264("a.mp4", span="full"), "RGB by this range", span="full"),
    "full range, Motion JPEG": Odd(
        made("a.avi", pixel_format="yuvj420p", codec="mjpeg", span="full", qscale="2"),
        "RGB by this range",
        (),
        span="full",
    ),
    "10 bit": Odd(made("a.mkv", scene(bits=10), "yuv420p10le"), "8 bit"),
    "12 bit": Odd(made("a.mkv", scene(down=1, bits=12), "yuv422p12le"), "8 bit"),
    "grey (4:0:0)": rgb(
        made("a.mkv", scene(planes=1), "gray"), "three equal channels", ["grey without a range tag"]
    ),
    "grey (4:0:0), H.264": Odd(h264("a.mp4", scene(planes=1), "gray"), "three equal channels"),
    "4:2:2": Odd(made("a.mkv", scene(down=1), "yuv422p"), "RGB"),
    "4:4:4": Odd(h264("a.mp4", FULL_444, "yuv444p"), "RGB"),
    "4:1:1": Odd(made("a.mkv", scene(down=1, across=4), "yuv411p"), "RGB"),
    "RGB": rgb(packed("a.mkv", "ffv1", "bgr0"), "itself"),
    "RGB, planar, 10 bit": rgb(packed("a.mkv", "ffv1", "gbrp10le"), "8 bit"),
    "alpha": Odd(made("a.mkv", scene(planes=4), "yuva420p"), "colour alone", (UNTAGGED, ALPHA)),
    "alpha, ProRes": Odd(
        made("a.mov", scene(down=1, across=1, bits=10, planes=4), "yuva444p10le", "prores_ks"),
        "colour alone",
        (UNTAGGED, ALPHA),
    ),
    "alpha, WebM (VP9)": Odd(
        made("a.webm", scene(planes=4), "yuva420p", "libvpx-vp9", crf="10", **{"cpu-used": "8"}),
        "colour alone",
        (UNTAGGED, ALPHA),
    ),
    "alpha, WebM (VP8)": Odd(
        made(
            "a.webm",
            scene(planes=4),
            "yuva420p",
            "libvpx",
            **{"cpu-used": "8", "auto-alt-ref": "0"},
        ),
        "colour alone",
        (ALPHA,),
    ),
    "alpha, HEVC": Odd(layered("a.mp4", alpha=True), "colour alone", (UNTAGGED, ALPHA)),
    "two views, HEVC": Odd(
        layered("a.mp4", alpha=False), "the first", (UNTAGGED, "a second layer")
    ),
    "pixel format that changes": Odd(
        joined("a.h264", h264("1.h264"), h264("2.h264", FULL_444, "yuv444p")),
        "each frame by its own",
        (UNTAGGED, NO_TIMES),
        times=range(16),
    ),
}

FORMAT = {
    "animated GIF": rgb(packed("a.gif", "gif", "rgb8"), "itself", [ALPHA]),
    "animated PNG": rgb(packed("a.apng", "apng", "rgb24"), "itself"),
    "QuickTime animation": rgb(packed("a.mov", "qtrle", "rgb24"), "itself"),
    "MPEG-TS": Odd(h264("a.ts"), "itself"),
    "fragmented MP4": Odd(
        h264("a.mp4", container={"movflags": "frag_keyframe+empty_moov"}), "itself"
    ),
    "Flash": Odd(made("a.flv", codec="flv", qscale="2"), "itself"),
    "Windows Media": Odd(made("a.wmv", codec="wmv2", qscale="2"), "itself"),
    "WebM (VP9)": Odd(made("a.webm", codec="libvpx-vp9", crf="10", **{"cpu-used": "8"}), "itself"),
    "H.265": Odd(
        made("a.mp4", codec="libx265", preset="ultrafast", **{"x265-params": "log-level=none"}),
        "itself",
    ),
    "MXF": Odd(made("a.mxf", codec="mpeg2video", qscale="2"), "itself"),
    "YUV4MPEG2": Odd(made("a.y4m", codec="wrapped_avframe"), "itself"),
    "picture (PNG)": rgb(picture("a.png"), "a video of one frame", times=[0]),
    "picture (BMP)": rgb(picture("a.bmp"), "a video of one frame", times=[0]),
}

NAME = {
    "wrong extension": Odd(renamed(plain(), "a.jpg"), "what it holds"),
    "no extension": Odd(renamed(plain(), "video"), "what it holds"),
    "name that is not ASCII": Odd(renamed(plain(), "фильм 映画 🎬 é.mp4"), "itself"),
    "name that is not UTF-8": Odd(renamed(plain(), b"caf\xe9.mp4"), "itself"),
    "name of 255 bytes": Odd(renamed(plain(), "long name " * 25 + "a.mp4"), "itself"),
    "name with quotes, % and a line break": Odd(renamed(plain(), "-a'b\"%03d\nc:d.mp4"), "itself"),
    "name that looks like a pattern": rgb(
        renamed(picture("x.png"), "a%03d.png"), "itself", times=[0]
    ),
    "symbolic link": Odd(linked, "what it leads to"),
}

ODD: dict[str, Odd] = TIME | SHAPE | COLOUR | FORMAT | NAME
