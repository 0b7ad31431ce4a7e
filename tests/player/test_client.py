"""The player against the server's own reconstruction: the same pixels whatever the package,
wherever playing starts."""

import gc
import itertools
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tiny_package import Made, changed, make

from stdo.core.types import UserError
from stdo.models.registry import BACKBONES, build
from stdo.package import labels
from stdo.package.container import Package
from stdo.player.bicubic import enlarge, enlarge_part
from stdo.player.client import Player
from stdo.player.runtime import Runtime
from stdo.video.degrade import BicubicUpscaler
from stdo.video.writer import VideoWriter

VARIABLE = [Fraction(t, 100) for t in (0, 3, 10, 12, 30, 31)]

PACKAGES = {
    "k=2": {},
    "one network": {"networks": 1, "network_of": (0,)},
    "four chunks, two networks": {"network_of": (1, 0, 0, 1)},
    "scale 4, odd size": {"scale": 4, "width": 97, "height": 61},
    "halo": {"halo": 3},
    "halo, scale 4": {"halo": 5, "scale": 4, "width": 90, "height": 74},
    "variable rate": {"pts": VARIABLE},
    "x264, odd LR size": {"codec": "x264", "width": 74, "height": 50},
    "Matroska": {"member": "lr.mkv"},
    "residual": {"residual": "bicubic"},
    "a chunk without a network": {"network_of": (0, 1, -1)},
    "a chunk without a network, odd size, halo": {
        "network_of": (0, -1),
        "networks": 1,
        "scale": 4,
        "width": 97,
        "height": 61,
        "halo": 3,
        "residual": "bicubic",
    },
    "residual, halo, scale 4": {
        "residual": "bicubic",
        "halo": 3,
        "scale": 4,
        "width": 90,
        "height": 74,
    },
}


def worst(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path)


@pytest.mark.parametrize("kind", PACKAGES)
def test_frames_equal_the_servers_to_one_level_and_times_are_the_sources(
    kind: str, tmp_path: Path
) -> None:
    settings = PACKAGES[kind]
    made = make(tmp_path, **settings)
    played = list(Player(made.path, threads=2))
    assert [pts for pts, _ in played] == settings.get("pts", [Fraction(t, 25) for t in range(6)])
    for t, (_, rgb_HWC) in enumerate(played):
        assert rgb_HWC.dtype == np.uint8 and rgb_HWC.flags.c_contiguous
        assert worst(rgb_HWC, made.expected(t)) <= 1
        assert worst(rgb_HWC, made.bicubic(t)) > 1, "the networks do something"


DEEP = ("edsr", "vdsr", "wdsr")
"""Backbones that take seconds for a frame."""


@pytest.mark.parametrize("cut", ["whole", "bands", "patches"])
@pytest.mark.parametrize(
    ("backbone", "scale"),
    [
        *(
            pytest.param(name, 2, marks=pytest.mark.slow if name in DEEP else ())
            for name in BACKBONES
        ),
        ("espcn", 4),
        ("srcnn", 3),
    ],
)
def test_a_frame_of_one_network_runs_whole_where_the_halo_holds_all_it_sees(
    backbone: str, scale: int, cut: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same pixels, in fewer and larger windows; also in bands, and not where the halo is one
    pixel short."""
    reach = build(backbone, scale).receptive_radius
    halo = reach - 1 if cut == "patches" else reach
    if cut == "bands":
        monkeypatch.setattr("stdo.player.client.WHOLE", (45 + 2 * halo) * (20 + 2 * halo))
    made = make(
        tmp_path, backbone, scale, 2, (1, 1), 45 * scale, 37 * scale, 2, halo=halo, strength=0.001
    )
    run, shapes = Runtime.run, set()

    def seen(networks: Runtime, index: int, windows_NHWC: np.ndarray, *rest: object) -> None:
        shapes.add(windows_NHWC.shape)
        run(networks, index, windows_NHWC, *rest)

    monkeypatch.setattr(Runtime, "run", seen)
    played = [rgb_HWC for _, rgb_HWC in Player(made.path, threads=1)]
    assert all(worst(rgb_HWC, made.expected(t)) <= 1 for t, rgb_HWC in enumerate(played))
    count, height, width = {"whole": (1, 37, 45), "bands": (2, 19, 45), "patches": (16, 10, 12)}[
        cut
    ]
    assert shapes == {(count, height + 2 * halo, width + 2 * halo, 3)}


def test_frames_of_several_networks_run_in_patches(tmp_path: Path) -> None:
    made = make(tmp_path, halo=4, network_of=(0, 1))
    assert all(
        worst(rgb_HWC, made.expected(t)) <= 1
        for t, (_, rgb_HWC) in enumerate(Player(made.path, threads=1))
    )
    for labels_TRC, windows in (
        (np.zeros_like(made.labels), 1),
        (made.labels, made.server.grid.patches),
    ):
        packed = changed(made, tmp_path / "other.stdo", chunks=labels.encode(labels_TRC, 2))
        assert Player(packed)._plan(labels_TRC[0])[0].patches == windows


def test_it_may_be_played_twice_and_left_in_the_middle(made: Made) -> None:
    player = Player(made.path, threads=2)
    first = [rgb_HWC for _, rgb_HWC in itertools.islice(player, 2)]
    gc.collect()
    again = [rgb_HWC for _, rgb_HWC in player]
    assert len(again) == len(player) == 6
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=False))
    del player
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stdo-play")]


@pytest.mark.parametrize("codec", ["lossless", "x264", "x265"])
def test_seeking_to_any_frame_gives_the_same_pixels(codec: str, tmp_path: Path) -> None:
    frames = 40
    made = make(tmp_path, codec=codec, frames=frames, width=64, height=48)
    whole = list(Player(made.path, threads=2))
    for first in (1, 2, 7, 19, 38, 39):
        played = list(Player(made.path, start=Fraction(first, 25), duration=0.12, threads=2))
        assert len(played) == min(3, frames - first)
        for (pts, rgb_HWC), (expected_pts, expected) in zip(played, whole[first:], strict=False):
            assert pts == expected_pts
            assert np.array_equal(rgb_HWC, expected)


def test_a_stretch_of_a_variable_rate_takes_the_frames_whose_time_lies_in_it(
    tmp_path: Path,
) -> None:
    made = make(tmp_path, pts=VARIABLE)
    whole = dict(Player(made.path, threads=1))
    for start, duration, taken in (
        (0, 0.1, slice(0, 2)),
        (0.03, 0.09, slice(1, 3)),
        (0.1, None, slice(2, 6)),
        (0.11, 0.2, slice(3, 5)),
        (0.301, 5, slice(5, 6)),
    ):
        played = dict(Player(made.path, start=start, duration=duration, threads=1))
        assert list(played) == VARIABLE[taken]
        assert all(np.array_equal(rgb_HWC, whole[pts]) for pts, rgb_HWC in played.items())


def test_patches_whose_network_did_not_arrive_are_bicubic(made: Made) -> None:
    package = Package.open(made.path)
    size = len(package.read("weights.bin"))
    none, all_of_them = (list(Player(made.path, max_network_bytes=n, threads=1)) for n in (0, size))
    for t in range(6):
        assert worst(none[t][1], made.bicubic(t)) <= 1
        assert worst(all_of_them[t][1], made.expected(t)) <= 1
    some = list(Player(made.path, max_network_bytes=size - 1, threads=1))
    grid = made.server.grid
    for t in range(6):
        here = grid.hr.extract(np.pad(some[t][1], ((0, 0), (0, 0), (0, 0))))
        ours, bicubic = (
            made.server.patches(made.lr[t], made.labels[t]),
            grid.hr.extract(made.bicubic(t)),
        )
        for patch, label in enumerate(made.labels[t].ravel()):
            if _overlapped(grid, patch):
                continue
            assert worst(here[patch], ours[patch] if label == 0 else bicubic[patch]) <= 1


def _overlapped(grid, patch: int) -> bool:
    """Whether another patch owns part of it: the last row and column are shifted inwards."""
    row, col = divmod(patch, grid.cols)
    return row == grid.rows - 1 or col == grid.cols - 1


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (37, 21)])
def test_bicubic_equals_the_servers(scale: int, size: tuple[int, int]) -> None:
    lr_HWC = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    difference = np.abs(enlarge(lr_HWC, scale).astype(int) - BicubicUpscaler(scale)(lr_HWC))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.01


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_part_of_a_frame_is_enlarged_as_in_the_frame(scale: int) -> None:
    lr_HWC = np.random.default_rng(0).integers(0, 256, (23, 17, 3), np.uint8)
    whole = enlarge(lr_HWC, scale)
    for top, left, height, width in itertools.product((0, 1, 2, 9), (0, 1, 7), (1, 14), (1, 10)):
        area = (
            slice(scale * top, scale * (top + height)),
            slice(scale * left, scale * (left + width)),
        )
        assert np.array_equal(enlarge_part(lr_HWC, scale, top, left, height, width), whole[area])


def other_video(tmp_path: Path, width: int, height: int, frames: int) -> bytes:
    path = tmp_path / "other.mp4"
    with VideoWriter(path, width, height, Fraction(25), "lossless") as writer:
        for t in range(frames):
            writer.write((Fraction(t, 25), np.full((height, width, 3), 40 * t % 256, np.uint8)))
    return path.read_bytes()


BAD_MEMBERS = {
    "a shorter video": ("lr", lambda tmp: other_video(tmp, 35, 25, 4), "lr.mp4"),
    "a larger video": ("lr", lambda tmp: other_video(tmp, 350, 250, 6), "lr.mp4"),
    "no video": ("lr", lambda tmp: b"\0" * 999, "lr.mp4"),
    "a playlist": ("lr", lambda tmp: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "lr.mp4"),
    "half a video": ("lr", lambda tmp: other_video(tmp, 35, 25, 6)[:-400], "lr.mp4"),
    "labels of more frames": (
        "chunks",
        lambda tmp: labels.encode(np.zeros((999, 3, 3), np.int16), 2),
        "chunks.bin",
    ),
    "no labels": ("chunks", lambda tmp: b"", "chunks.bin"),
    "no weights": ("weights", lambda tmp: b"\x20", "weights.bin"),
    "no graph": ("graph", lambda tmp: b"graph", "graph.onnx"),
}


@pytest.mark.parametrize("kind", BAD_MEMBERS)
def test_members_that_are_signed_but_wrong_are_one_line(
    kind: str, made: Made, tmp_path: Path
) -> None:
    name, content, named = BAD_MEMBERS[kind]
    bad = changed(made, tmp_path / "bad.stdo", **{name: content(tmp_path)})
    with pytest.raises(UserError, match=named) as caught:
        list(Player(bad, threads=1))
    assert str(caught.value).startswith(f"{bad}: ") and str(caught.value).count(str(bad)) == 1
    assert "\n" not in str(caught.value)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stdo-play")]


def test_one_flipped_byte_of_any_member_is_noticed(made: Made, tmp_path: Path) -> None:
    data = made.path.read_bytes()
    for at in np.linspace(40, len(data) - 1, 25, dtype=int):
        bad = tmp_path / "bad.stdo"
        bad.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(UserError, match="bad"):
            list(Player(bad, threads=1))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "member"), [("lr", "lr.mp4"), ("graph", "graph.onnx")])
def test_signed_noise_plays_or_is_one_line(name: str, member: str, tmp_path: Path) -> None:
    made = make(tmp_path, codec="x264", width=96, height=64)
    content, rng = Package.open(made.path).read(member), np.random.default_rng(0)
    refusals = []
    for _ in range(60):
        noisy = np.frombuffer(content, np.uint8).copy()
        at = rng.integers(0, len(noisy), rng.choice([1, 3, 20]))
        noisy[at] = rng.integers(0, 256, len(at))
        kept = noisy.tobytes()[: rng.integers(len(noisy)) if rng.random() < 0.2 else None]
        try:
            assert (
                len(list(Player(changed(made, tmp_path / "noisy.stdo", **{name: kept}), threads=1)))
                == 6
            )
        except UserError as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert not [line for line in refusals if "\n" in line or len(line) > 500]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": -1}, "start=-1: must be 0 or more"),
        ({"start": float("nan")}, "start=nan"),
        ({"duration": 0}, "duration=0: must be more than 0"),
        ({"start": 9}, "start=9 duration=None: no frame there"),
        ({"threads": 0}, "threads=0: must be from 1"),
        ({"max_network_bytes": -1}, "max_network_bytes=-1: must be 0 or more"),
        ({"precision": "float16"}, "precision=float16: must be one of float32, bfloat16, int8"),
        ({"precision": "int8"}, "precision=int8: the package does not tell the ranges it needs"),
    ],
)
def test_settings_out_of_range_name_the_value(settings: dict, message: str, made: Made) -> None:
    with pytest.raises(UserError, match=message):
        Player(made.path, **settings)
