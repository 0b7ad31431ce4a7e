"""Folders of pictures, and the layout of VSD4K."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image, ImageOps

from stdo.config.trust import conf_dir
from stdo.core.types import UserError
from stdo.video.images import HR_FOLDER, ImageFolder, Vsd4k
from stdo.video.reader import VideoFile
from stdo.video.writer import VideoWriter


def picture(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def folder_of(path, names, height: int = 24):
    path.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        Image.fromarray(picture(seed, height)).save(path / name)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "PNG"])
def test_lossless_pictures_come_exactly_and_in_natural_order(tmp_path, suffix):
    folder = folder_of(tmp_path / "a%03d", [f"f{n}.{suffix}" for n in (1, 2, 10, 11, 100)])
    (folder / "notes.txt").write_text("not a picture")
    video = ImageFolder(folder, rate=30)
    frames = list(video)
    for seed, frame in enumerate(frames):
        assert np.array_equal(frame.rgb_HWC, picture(seed))
    assert [frame.pts for frame in frames] == [Fraction(t, 30) for t in range(5)]
    assert (video.info.frames, video.info.rate, video.info.width, video.info.height) == (
        5,
        30,
        32,
        24,
    )


@pytest.mark.parametrize(
    ("suffix", "options"), [("jpg", {"quality": 95, "subsampling": 0}), ("webp", {"quality": 95})]
)
@pytest.mark.parametrize("height", [96, 736])
def test_lossy_pictures_agree_with_pillow_at_any_height(tmp_path, suffix, options, height):
    y, x = np.mgrid[:height, :48]
    smooth = np.stack([x * 5, y * 255 // height, 255 - x * 5], -1).astype(np.uint8)
    path = tmp_path / f"1.{suffix}"
    Image.fromarray(smooth).save(path, **options)
    (frame,) = ImageFolder(tmp_path)
    expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert np.abs(frame.rgb_HWC - expected).mean() < 1


def test_a_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    y, x = np.mgrid[:32, :64]
    Image.fromarray(np.stack([x * 4, y * 8, 255 - x * 2], -1).astype(np.uint8)).save(
        tmp_path / "1.jpg", exif=exif, quality=98
    )
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "1.jpg"))).astype(int)
    video = ImageFolder(tmp_path)
    assert (video.info.width, video.info.height) == (32, 64)
    assert np.abs(next(iter(video)).rgb_HWC - expected).mean() < 2


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_other_kinds_of_png(tmp_path, mode):
    grey = picture(0)[..., 0]
    if mode == "I;16":
        image, expected = (
            Image.fromarray(grey.astype(np.uint16) * 257),
            np.repeat(grey[..., None], 3, 2),
        )
    else:
        image = Image.fromarray(picture(0)).convert(mode)
        expected = np.asarray(image.convert("RGB"))
    image.save(tmp_path / "1.png")
    video = ImageFolder(tmp_path)
    assert np.abs(next(iter(video)).rgb_HWC.astype(int) - expected).max() <= (
        1 if mode == "I;16" else 0
    )
    assert any("alpha" in note for note in video.info.notes) == (mode == "RGBA")


def test_what_was_written_is_read(tmp_path):
    with VideoWriter(tmp_path / "out", 32, 24, Fraction(25), "png") as writer:
        for seed in range(3):
            writer.write((Fraction(seed, 25), picture(seed)))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "00001.png",
        "00002.png",
        "00003.png",
    ]
    for seed, frame in enumerate(ImageFolder(tmp_path / "out")):
        assert np.array_equal(frame.rgb_HWC, picture(seed))
        assert np.array_equal(
            np.asarray(Image.open(tmp_path / "out" / f"{seed + 1:05d}.png")), picture(seed)
        )


def test_span_height_and_pattern(tmp_path):
    folder = folder_of(tmp_path / "a", [f"{n}.png" for n in range(10)])
    folder_of(folder, ["x.bmp"])
    chosen = list(
        ImageFolder(folder, rate=10, pattern="*.png", start=0.2, duration=0.5, max_frames=3)
    )
    assert [frame.pts for frame in chosen] == [0, Fraction(1, 10), Fraction(1, 5)]
    assert np.array_equal(chosen[0].rgb_HWC, picture(2))
    assert next(iter(ImageFolder(folder, height=16))).rgb_HWC.shape == (16, 22, 3)


MAC = b"\0\5\26\7\0\2\0\0Mac OS X" + bytes(4000)
"""A file that macOS leaves beside each other one on foreign disks, under ``._`` and its name."""


def test_hidden_files_are_passed_over_as_a_shell_does(tmp_path):
    folder = folder_of(tmp_path / "a", [f"{n}.png" for n in range(3)])
    for n in range(3):
        (folder / f"._{n}.png").write_bytes(MAC)
    folder_of(folder, [".thumbnail.png"], height=26)
    folder_of(folder / ".trash", ["9.png"])
    assert len(list(ImageFolder(folder))) == len(list(ImageFolder(folder, pattern="**/*.png"))) == 3
    assert len(list(ImageFolder(folder, pattern=".thumb*"))) == 1
    assert len(list(ImageFolder(folder, pattern=".trash/*"))) == 1
    hidden = folder_of(tmp_path / ".hidden", ["1.png"])
    assert len(list(ImageFolder(hidden))) == 1, "a folder that the user names is his choice"


def test_hidden_files_of_vsd4k_are_passed_over(tmp_path):
    folder = folder_of(tmp_path / "game_15" / HR_FOLDER, [f"{n:05d}.png" for n in range(1, 4)])
    (folder / "._00001.png").write_bytes(MAC)
    folder_of(tmp_path / ".old" / "game_15" / HR_FOLDER, ["00001.png"])
    assert len(list(Vsd4k(tmp_path, "game", 15))) == 3


@pytest.mark.parametrize(
    "pattern", ["../private/*", "x/../../private/*", "/etc/*", "..", "*/../../private/*", "", 3]
)
def test_a_pattern_stays_below_the_folder(tmp_path, pattern):
    folder_of(tmp_path / "private", ["1.png"])
    folder = folder_of(tmp_path / "a", ["1.png"])
    with pytest.raises(UserError, match=r"^video\.pattern="):
        ImageFolder(folder, pattern=pattern)
    with pytest.raises(UserError, match=r"^video\.pattern="):
        ImageFolder(folder, pattern=f"{tmp_path}/private/*")


def test_a_link_within_the_folder_is_the_users_choice(tmp_path):
    folder_of(tmp_path / "other", ["1.png", "2.png"])
    (tmp_path / "a").mkdir()
    for n in (1, 2):
        (tmp_path / "a" / f"{n}.png").symlink_to(tmp_path / "other" / f"{n}.png")
    assert len(list(ImageFolder(tmp_path / "a"))) == 2


def test_the_pattern_is_a_setting(tmp_path):
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        config = compose("train", ["video=folder", "video.path=x", "video.pattern=0*.png"])
    assert config.video.pattern == "0*.png"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (
            ["0.png", "1.png", "4.png", "9.png"],
            "6 numbers are missing in the names, the first after 1.png",
        ),
        (
            ["f0001.png", "f0002.png", "f0004.png"],
            "1 numbers are missing in the names, the first after f0002.png",
        ),
        (["10.png", "20.png", "30.png"], None),
        (["10.png", "20.png", "40.png"], "1 numbers"),
        (["1.png", "2.png", "3.png"], None),
        (["left_1.png", "left_2.png", "right_1.png", "right_2.png"], None),
        (["a.png", "b.png"], None),
        (
            ["shot1_001.png", "shot1_002.png", "shot2_001.png", "shot2_005.png", "shot2_006.png"],
            "3 numbers",
        ),
    ],
)
def test_gaps_in_the_numbers_are_noted(tmp_path, names, missing):
    video = ImageFolder(folder_of(tmp_path, names))
    assert len(list(video)) == len(names)
    assert len(video.info.notes) == (missing is not None)
    assert all(missing in note for note in video.info.notes)


def test_gaps_of_vsd4k_are_noted_and_its_test_copies_are_none(tmp_path):
    folder_of(tmp_path / "game_1" / HR_FOLDER, [f"{n:05d}.png" for n in range(1, 34)])
    assert not any("missing" in note for note in Vsd4k(tmp_path, "game", 1).info.notes)
    (tmp_path / "game_1" / HR_FOLDER / "00005.png").unlink()
    assert any("1 numbers are missing" in note for note in Vsd4k(tmp_path, "game", 1).info.notes)


def test_only_gaps_between_used_pictures_count(tmp_path):
    folder = folder_of(tmp_path, ["0.png", "1.png", "2.png", "9.png"])
    assert not ImageFolder(folder, rate=10, duration=0.3).info.notes
    assert not ImageFolder(folder, rate=10, duration=0.3, every=2).info.notes
    assert ImageFolder(folder, rate=10).info.notes


def test_pixels_of_a_picture_that_are_not_square(tmp_path):
    """As ``ffmpeg -i dvd.mkv %d.png`` writes them."""
    with av.open(str(tmp_path / "1.png"), "w", format="image2", options={"update": "1"}) as out:
        stream = out.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "rgb24"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0), "rgb24")))
        out.mux(stream.encode(None))
    info = ImageFolder(tmp_path).info
    assert info.marks.aspect == Fraction(64, 45)
    assert any("pixels are not square (aspect 64/45)" in note for note in info.notes)
    Image.fromarray(picture(0)).save(tmp_path / "1.png", dpi=(300, 300))
    assert ImageFolder(tmp_path).info.marks.aspect == 1


def test_fingerprint_follows_names_contents_and_settings(tmp_path):
    folder = folder_of(tmp_path / "a", ["1.png", "2.png"])
    first = ImageFolder(folder).fingerprint()
    assert first == ImageFolder(folder_of(tmp_path / "b", ["1.png", "2.png"])).fingerprint()
    assert (
        len(
            {
                first,
                ImageFolder(folder, rate=30).fingerprint(),
                ImageFolder(folder, max_frames=1).fingerprint(),
            }
        )
        == 3
    )
    Image.fromarray(picture(9)).save(folder / "2.png")
    assert ImageFolder(folder).fingerprint() != first


def test_bad_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    mixed = folder_of(tmp_path / "mixed", ["1.png"])
    Image.fromarray(picture(1, 26)).save(mixed / "2.png")
    broken = folder_of(tmp_path / "broken", ["1.png"])
    (broken / "2.png").write_bytes((broken / "1.png").read_bytes()[:200])
    cases = [
        (lambda: ImageFolder(tmp_path / "none"), "no such folder"),
        (lambda: ImageFolder(tmp_path / "file"), "is not a folder"),
        (lambda: ImageFolder(tmp_path / "empty"), "no picture matches"),
        (lambda: ImageFolder(mixed, pattern="/x"), "video.pattern=/x"),
        (lambda: ImageFolder(mixed, rate=0), "video.rate=0"),
        (lambda: ImageFolder(mixed, start=5), "video.start=5"),
        (lambda: list(ImageFolder(mixed)), "2.png: is 32x26, the first picture is 32x24"),
        (lambda: list(ImageFolder(broken)), "2.png: is not a picture"),
    ]
    for act, words in cases:
        with pytest.raises(UserError) as caught:
            act()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "place", ["game/game_15s_1", "game_15", "game_15s_1080", "VSD4K/game/game_15s_1"]
)
def test_vsd4k_is_found_in_its_published_layouts(tmp_path, place):
    folder_of(tmp_path / place / HR_FOLDER, [f"{n:05d}.png" for n in range(1, 6)])
    folder_of(tmp_path / "vlog/vlog_15s_1" / HR_FOLDER, ["00001.png"])
    for root in (tmp_path, tmp_path / place, tmp_path / place / HR_FOLDER):
        video = Vsd4k(root, "game", 15)
        assert [np.array_equal(frame.rgb_HWC, picture(t)) for t, frame in enumerate(video)] == [
            True
        ] * 5
        assert (video.info.name, video.info.rate) == ("game_15s", 30)


def test_vsd4k_leaves_out_the_test_copies(tmp_path):
    folder_of(tmp_path / "game_1" / HR_FOLDER, [f"{n:05d}.png" for n in range(1, 34)])
    video = Vsd4k(tmp_path, "game", 1)
    assert video.info.frames == len(list(video)) == 30
    assert any("3 pictures" in note for note in video.info.notes)
    assert Vsd4k(tmp_path, "game", 1, max_frames=4, height=16).info.frames == 4


def test_vsd4k_lists_what_there_is(tmp_path):
    for place in ("game_15", "vlog/vlog_30s_1"):
        folder_of(tmp_path / place / HR_FOLDER, ["00001.png"])
    with pytest.raises(UserError, match="there is: game 15, vlog 30"):
        Vsd4k(tmp_path, "dance", 15)
    with pytest.raises(UserError, match="video.root="):
        Vsd4k(tmp_path / "none", "game", 15)


def test_one_picture_is_a_video_of_one_frame(tmp_path):
    Image.fromarray(picture(0)).save(tmp_path / "a.png")
    (frame,) = VideoFile(tmp_path / "a.png")
    assert np.array_equal(frame.rgb_HWC, picture(0))
