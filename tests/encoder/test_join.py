"""Packages of parts become one that plays as the whole video, frame by frame."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from msgspec.structs import replace
from tiny_package import Made, add_sound, make, smooth

import stdo.encoder.join as join_module
from stdo.core.types import Frame, UserError
from stdo.encoder.join import Whole, join_parts
from stdo.package.container import Package, write_package
from stdo.package.manifest import Figures, Manifest, Psnr
from stdo.player.client import Player
from stdo.video.concat import concatenate
from stdo.video.reader import VideoFile
from stdo.video.ticks import Timeline
from stdo.video.writer import VideoWriter

RATE = Fraction(25)
EVEN = [t / RATE for t in range(12)]
UNEVEN = [
    Fraction(tick, 90_000) for tick in (*range(0, 18_000, 3600), *range(20_000, 55_000, 5001))
]
SPLIT = (0, 5)


def whole_of(
    folder: Path, pts: Sequence[Fraction], firsts: Sequence[int] = SPLIT, times: int = 1
) -> Whole:
    """A video of 72x52, or so many times as large, with sound and a title."""
    path, width, height = folder / "film.mp4", 72 * times, 52 * times
    with VideoWriter(path, width, height, RATE, "x264", timeline=Timeline.of(pts)) as writer:
        for time, rgb_HWC in zip(pts, smooth(height, width, len(pts)), strict=True):
            writer.write(Frame(time, rgb_HWC))
    add_sound(path, float(pts[-1]) + 0.04)
    return Whole(VideoFile(path), pts, None, firsts)


def part(
    folder: Path, pts: Sequence[Fraction], number: int, larger: int = 1, **settings: object
) -> Made:
    """A part with networks and labels of its own."""
    folder.mkdir()
    even = all(time - pts[0] == t / RATE for t, time in enumerate(pts))
    times = None if even else [time - pts[0] for time in pts]
    return make(
        folder,
        width=72 * larger,
        height=52 * larger,
        frames=len(pts),
        pts=times,
        strength=0.004 + 0.004 * number,
        **settings,
    )  # type: ignore[arg-type]


def played(path: Path, **settings: object) -> list[tuple[Fraction, np.ndarray]]:
    return list(Player(path, threads=1, **settings))  # type: ignore[arg-type]


def headers(path: Path) -> bytes | None:
    """The parameter sets of a package's LR stream."""
    package = Package.open(path)
    with package.file(package.manifest.lr.member) as file, av.open(file) as container:
        return container.streams.video[0].codec_context.extradata


@pytest.mark.parametrize(
    ("codec", "pts", "member"),
    [
        ("x264", UNEVEN, "lr.mkv"),
        pytest.param("lossless", EVEN, "lr.mp4", marks=pytest.mark.slow),
        pytest.param("x264", UNEVEN, "lr.mp4", marks=pytest.mark.slow),
        pytest.param("x265", UNEVEN, "lr.mp4", marks=pytest.mark.slow),
        pytest.param("x265", EVEN, "lr.mkv", marks=pytest.mark.slow),
        pytest.param("svtav1", EVEN, "lr.mp4", marks=pytest.mark.slow),
        pytest.param("svtav1", UNEVEN, "lr.mkv", marks=pytest.mark.slow),
    ],
)
def test_the_whole_plays_the_frames_of_its_parts(
    codec: str, pts: list[Fraction], member: str, tmp_path: Path
) -> None:
    larger = 2 if codec == "x265" else 1  # x265 has harmed the heap with pictures of 36x26
    whole = whole_of(tmp_path, pts, times=larger)
    made = [
        part(tmp_path / "0", pts[:5], 0, larger, codec=codec, member=member),
        part(tmp_path / "1", pts[5:], 1, larger, codec=codec, member=member, networks=3,
             network_of=(2, -1, 0, 1)),
    ]  # fmt: skip
    if pts == UNEVEN and codec == "x264":  # the others say nothing of times there
        assert len({headers(each.path) for each in made}) == 2, "of other times, so no common one"
    target = tmp_path / "film.stdo"
    manifest, notes = join_parts(target, [each.path for each in made], whole)
    assert notes == () and [each.first for each in manifest.sections] == [0, 5]
    assert manifest.network.network_of == (0, 1, 4, -1, 2, 3) and manifest.lr.audio_bytes > 0

    expected = [rgb_HWC for each in made for _, rgb_HWC in played(each.path)]
    assert len(np.unique(np.array(expected).reshape(len(pts), -1), axis=0)) == len(pts)
    found = played(target)
    assert [time for time, _ in found] == [time - pts[0] for time in pts]
    for t, (_, rgb_HWC) in enumerate(found):
        assert np.array_equal(rgb_HWC, expected[t]), t
    for t in (4, 5, 7):  # a key frame of a part, and a frame behind it
        (_, rgb_HWC), *_ = played(target, start=pts[t] - pts[0])
        assert np.array_equal(rgb_HWC, expected[t]), t
    before = target.read_bytes()
    join_parts(target, [each.path for each in made], whole)
    assert target.read_bytes() == before and not list(tmp_path.glob(".*")), "the same again"


def test_frames_equal_the_servers_and_networks_arrive_in_order(tmp_path: Path) -> None:
    whole = whole_of(tmp_path, EVEN)
    made = [part(tmp_path / str(n), EVEN[a:b], n) for n, (a, b) in enumerate(((0, 5), (5, 12)))]
    target = tmp_path / "film.stdo"
    join_parts(target, [each.path for each in made], whole)
    server = [
        each.expected(t) for each, count in zip(made, (5, 7), strict=True) for t in range(count)
    ]
    for (_, rgb_HWC), wanted in zip(played(target, isolated=True), server, strict=True):
        assert np.abs(rgb_HWC.astype(int) - wanted).max() <= 1

    first_part = len(Package.open(made[0].path).read("weights.bin"))
    some = played(target, max_network_bytes=first_part + 12)
    for t in (4, 5):
        wanted = made[0].expected(4) if t == 4 else made[1].bicubic(0)
        assert np.abs(some[t][1].astype(int) - wanted).max() <= 1, t
    none = played(target, max_network_bytes=0)
    assert np.abs(none[4][1].astype(int) - made[0].bicubic(4)).max() <= 1


def test_sound_title_and_times_are_those_of_the_video(tmp_path: Path) -> None:
    whole = whole_of(tmp_path, UNEVEN)
    made = [part(tmp_path / str(n), UNEVEN[a:b], n) for n, (a, b) in enumerate(((0, 5), (5, 12)))]
    target = tmp_path / "film.stdo"
    join_parts(target, [each.path for each in made], whole)
    package = Package.open(target)
    with (
        package.file("lr.mp4") as file,
        av.open(file) as lr,
        av.open(str(whole.source.path)) as film,
    ):
        assert lr.metadata["title"] == "tiny"
        sounds = [
            [
                (float(p.pts * p.time_base), bytes(p))
                for p in each.demux(each.streams.audio[0])
                if p.size
            ]
            for each in (lr, film)
        ]
    assert sounds[0] == sounds[1]
    source = package.manifest.source
    assert [source.pts(t) for t in range(source.frames)] == UNEVEN


def test_figures_are_those_of_all_frames(tmp_path: Path) -> None:
    whole = whole_of(tmp_path, EVEN)
    paths = []
    for number, (a, b) in enumerate(((0, 5), (5, 12))):
        made = part(tmp_path / str(number), EVEN[a:b], number)
        paths.append(tmp_path / f"{number}.stdo")
        db = 20.0 + 10 * number
        told = Figures(Psnr(db, db, db), 0.5 + 0.25 * number)
        signed(made, paths[-1], quality=told, bicubic=told)
    manifest, _ = join_parts(tmp_path / "film.stdo", paths, whole)
    assert manifest.quality is not None and manifest.quality == manifest.bicubic
    assert manifest.quality.psnr.frame == pytest.approx((5 * 20 + 7 * 30) / 12)
    assert manifest.quality.psnr.pooled == pytest.approx(-10 * np.log10((5 * 1e-2 + 7 * 1e-3) / 12))
    assert manifest.quality.ssim == pytest.approx((5 * 0.5 + 7 * 0.75) / 12)


def signed(made: Made, target: Path, **changes: object) -> Manifest:
    """The same package with other fields in its manifest."""
    package = Package.open(made.path)
    members = {name: package.read(name) for name in package.manifest.names[1:]}
    return write_package(target, replace(package.manifest, **changes), members)  # type: ignore[arg-type]


def test_what_cannot_be_joined_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, target = whole_of(tmp_path, EVEN), tmp_path / "film.stdo"
    made = [part(tmp_path / str(n), EVEN[a:b], n) for n, (a, b) in enumerate(((0, 5), (5, 12)))]
    other = part(tmp_path / "2", EVEN[5:], 1, patch=(8, 12))
    late = part(tmp_path / "3", [0, *(time + 1 for time in EVEN[6:])], 1)  # type: ignore[list-item]
    for paths, said in (
        ([made[0], made[0]], "tiny.stdo: has 5 frames: must be 7"),
        ([made[0], other], "2/tiny.stdo: is of another recipe than"),
        ([made[0], late], "3/tiny.stdo: shows its frame 1 at 1.24 s: must be 0.04 s"),
    ):
        with pytest.raises(UserError, match=said):
            join_parts(target, [each.path for each in paths], whole)
    with VideoWriter(tmp_path / "two.mp4", 32, 32, RATE) as writer:
        for time in EVEN[:2]:
            writer.write(Frame(time, np.zeros((32, 32, 3), np.uint8)))
    with pytest.raises(UserError, match=r"out\.mp4: 2 frames: must be 12"):
        concatenate(
            tmp_path / "out.mp4", [lambda: av.open(str(tmp_path / "two.mp4"))], Timeline.of(EVEN)
        )
    monkeypatch.setattr(join_module, "MOST", 1000)
    with pytest.raises(
        UserError, match=r"film\.stdo: its parts have [\d,]+ bytes: must be at most"
    ):
        join_parts(target, [each.path for each in made], whole)
    assert not target.exists() and not list(tmp_path.glob(".*"))
