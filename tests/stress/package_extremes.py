"""Packages within every range of the format that ask for as much as a range allows, with little
data, sealed anew."""

import threading
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from stdo.chunks.grid import PatchGrid
from stdo.core.types import Frame
from stdo.package import labels
from stdo.package.coding import join
from stdo.video.writer import VideoWriter

Draw = Random
Fields = dict[str, Any]
Members = dict[str, bytes]

_ENCODING = threading.Lock()
SIZES = ((2, 2), (16, 8192), (8192, 16), (4096, 64), (1000, 1000), (2896, 2896))
"""Width and height of LR frames at scale 2; the last is the largest number of pixels, and rare."""


@cache
def _stream(width: int, height: int, frames: int) -> bytes:
    """Grey frames by x264, which cost next to nothing."""
    grey_HWC = np.full((height, width, 3), 128, np.uint8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lr.mp4"
        with VideoWriter(path, width, height, Fraction(25), "x264", preset="ultrafast") as writer:
            for t in range(frames):
                writer.write(Frame(Fraction(t, 25), grey_HWC))
        return path.read_bytes()


def stream(width: int, height: int, frames: int) -> bytes:
    """The same for whoever asks first, in any thread."""
    with _ENCODING:
        return _stream(width, height, frames)


def _parts(data: bytes) -> list[bytes]:
    """What `join` joined."""
    count = int.from_bytes(data[:4], "little")
    ends = np.frombuffer(data, "<u4", count, 4).cumsum() + 4 * (count + 1)
    return [data[start:end] for start, end in zip([4 * (count + 1), *ends[:-1]], ends, strict=True)]


def _times(draw: Draw, fields: Fields, members: Members) -> None:
    """Late, close or uneven ticks of coarse and fine units."""
    count = fields["source"]["frames"]
    gap = draw.choice((1, 2, 1000, 2**31, 2**40, 2**53, 2**59))
    ticks = [min(t * gap, 2**62 - count + t) for t in range(count)]
    if draw.random() < 0.4:
        ticks[-1] = draw.choice((2**31, 2**53, 2**62))
    base = draw.choice(
        ([1, 1], [1, 2**31 - 1], [2**31 - 1, 1], [1, 90_000], [2**31 - 1, 2**31 - 2])
    )
    fields["source"]["times"] = {"time_base": base, "ticks": ticks}


def _rate(draw: Draw, fields: Fields, members: Members) -> None:
    """The slowest and the fastest rates."""
    rates = (
        [1, 1],
        [2**31 - 1, 1],
        [1, 2**31 - 1],
        [2**31 - 1, 2**31 - 2],
        [1, 100_000],
        [1000, 1],
    )
    fields["source"]["rate"] = draw.choice(rates)


def _relabelled(draw: Draw, fields: Fields, members: Members, most: int = 3000) -> None:
    """Labels for the grid, frames and chunks that the manifest names, or empty segments where those
    are many."""
    lr, patches, frames = fields["lr"], fields["grid"], fields["source"]["frames"]
    grid = PatchGrid(
        lr["height"], lr["width"], patches["patch_h"], patches["patch_w"], patches["halo"]
    )
    chunks = len(fields["network"]["network_of"])
    if frames * grid.patches > 200_000 or frames > most:
        members["chunks.bin"] = join([b""] * min(1 << 16, -(-frames // 256)))
        return
    rng = np.random.default_rng(draw.getrandbits(32))
    members["chunks.bin"] = labels.encode(
        rng.integers(0, chunks, (frames, grid.rows, grid.cols)).astype(np.int16), chunks
    )


def _frames(draw: Draw, fields: Fields, members: Members) -> None:
    """More frames than the video has."""
    fields["source"] |= {
        "frames": draw.choice((5, 256, 257, 1000, 100_000, 10_000_000)),
        "times": None,
    }
    _relabelled(draw, fields, members)


def _size(draw: Draw, fields: Fields, members: Members) -> None:
    """Frames as long, as high or as large as they may be."""
    width, height = draw.choices(SIZES, (6, 5, 5, 5, 4, 1))[0]
    frames = draw.choice((1, 2))
    fields["scale"] = 2
    fields["source"] |= {"width": 2 * width, "height": 2 * height, "frames": frames, "times": None}
    fields["lr"] |= {
        "width": width,
        "height": height,
        "codec": "x264",
        "member": "lr.mp4",
        "audio_bytes": 0,
    }
    fields["members"] = {
        ("lr.mp4" if name.startswith("lr.") else name): one
        for name, one in fields["members"].items()
    }
    members.pop("lr.mkv", None)
    members["lr.mp4"] = stream(width, height, frames)
    fields["grid"] |= {
        "patch_w": draw.choice((width, -(-width // 3))),
        "patch_h": draw.choice((height, -(-height // 3))),
    }
    _relabelled(draw, fields, members)


def _grid(draw: Draw, fields: Fields, members: Members) -> None:
    """The smallest and largest patches, and halos."""
    lr, scale = fields["lr"], fields["scale"]
    patch_h, patch_w = draw.choice((1, 2, lr["height"])), draw.choice((1, 3, lr["width"]))
    # A frame may be of two pixels
    patch_h, patch_w = min(patch_h, lr["height"]), min(patch_w, lr["width"])
    halos = (0, 1, 8, 60, 500, 2000)
    fitting = [
        halo
        for halo in halos
        if PatchGrid(lr["height"], lr["width"], patch_h, patch_w, halo).pixels * scale**2 <= 2**26
    ]
    fields["grid"] = {"patch_h": patch_h, "patch_w": patch_w, "halo": draw.choice(fitting or [0])}
    _relabelled(draw, fields, members)


def _networks(draw: Draw, fields: Fields, members: Members) -> None:
    """Up to 4,096 networks: the same ones again, or empty deltas."""
    network, count = fields["network"], draw.choice((9, 256, 4096))
    header, *parts = _parts(members["weights.bin"])
    if header[1:]:
        parts = [parts[0], *(draw.choice((b"", part)) for part in parts[1:] * count)][: count + 1]
    else:
        parts = (parts * count)[:count]
    members["weights.bin"] = join([header, *parts])
    network["networks"] = count
    network["network_of"] = [draw.randrange(count) for _ in network["network_of"]]
    network.pop("ranges", None)


def _tensors(draw: Draw, fields: Fields, members: Members) -> None:
    """Thousands of tensors of one number each, beside the graph's own or in their place."""
    network, count = fields["network"], draw.choice((100, 4000))
    scalars = [[f"p{i}", draw.choice(([], [1], [1, 1, 1, 1]))] for i in range(count)]
    network["params"] = (network["params"] if draw.random() < 0.5 else []) + scalars
    network["networks"] = networks = draw.choice((1, 8, 64))
    network["network_of"] = [draw.randrange(networks) for _ in network["network_of"]]
    network.pop("ranges", None)
    fields["quantiser"]["bits"] = 16
    numbers = sum(int(np.prod(shape, dtype=np.int64)) for _, shape in network["params"])
    members["weights.bin"] = join([bytes([16]), *[bytes(2 * numbers)] * networks])


def _chunks(draw: Draw, fields: Fields, members: Members) -> None:
    """As many chunks as there may be."""
    network = fields["network"]
    count = draw.choice((200, 5000, 32767))
    network["network_of"] = [draw.randrange(-1, network["networks"]) for _ in range(count)]
    _relabelled(draw, fields, members)


def _counts(draw: Draw, fields: Fields, members: Members) -> None:
    """A table of sizes that promises parts."""
    name = draw.choice(("weights.bin", "chunks.bin"))
    count = draw.choice((1, 3, 4096, 60_000, 200_000))
    sizes = np.zeros(count + 1, "<u4")
    sizes[0] = draw.choice((count, count - 1, count + 1))
    sizes[1:] = draw.choice((0, 0, 1, 2**31))
    members[name] = sizes.tobytes() + bytes(draw.choice((0, 4, count)))


def _texts(draw: Draw, fields: Fields, members: Members) -> None:
    """Names as long as they may be, of letters that steer what shows them."""
    letters = draw.choice(
        ("x", "é", "\u202e", "\u2028", "\u0301", "\U0001f600", "/", "%s", "\u200f<b>")
    )
    fields[draw.choice(("name", "generator"))] = (letters * 400)[:400]
    fields["network"]["backbone"] = "a" * draw.choice((1, 40))


def _figures(draw: Draw, fields: Fields, members: Members) -> None:
    """Figures and settings of the codec at their ends."""
    figures = {
        "psnr": {"frame": draw.choice((0, 100)), "pooled": 0, "y": 100},
        "ssim": draw.choice((-1, 1, None)),
    }
    fields[draw.choice(("quality", "bicubic"))] = draw.choice((figures, None))
    fields["lr"] |= {"crf": draw.choice((0, 63, None)), "preset": draw.choice(("x" * 20, None))}
    fields["network"]["reach"] = draw.choice((0, 1, 500, 16384))


EXTREMES: tuple[Callable[[Draw, Fields, Members], None], ...] = (
    _size, _networks, _tensors, _frames, _times, _rate, _grid, _chunks, _texts, _figures, _counts,
)  # fmt: skip
WEIGHTS = (3, 2, 3, 4, 8, 5, 4, 3, 3, 4, 3)
"""How often each is drawn; those that take seconds are rarer."""


def extreme(draw: Draw, fields: Fields, members: Members) -> str:
    """Change a package in place, its digests aside, in one to three ways; their names."""
    chosen = draw.choices(EXTREMES, WEIGHTS, k=draw.choice((1, 1, 1, 2, 3)))
    for change in sorted(chosen, key=EXTREMES.index):  # the last ones harm what the first ones read
        change(draw, fields, members)
    return ", ".join(change.__name__.strip("_") for change in chosen)
