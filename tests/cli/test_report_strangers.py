"""Reports on run directories from strangers: what is odd is left out with one line, and the others
are shown."""

import csv
import io
import json
import os
import resource
import shutil
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

SECRET = "the user's own secret"
ESCAPE = "\x1b]0;owned\x07\x1b[2J"
MEGABYTES = 300
"""What any of these may take beyond what a report takes anyway, in spite of the gigabytes that they
ask for."""


@pytest.fixture
def sent(finished_runs: Path, tmp_path: Path) -> Path:
    """One run of two, which came from somebody else; the other is ours."""
    ours, theirs, *_ = sorted((finished_runs / "clip").iterdir())
    shutil.copytree(ours, tmp_path / "runs" / "ours")
    shutil.copytree(theirs, tmp_path / "runs" / "sent")
    (tmp_path / "private.txt").write_text(SECRET)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "0-truth.png").write_text(SECRET)
    return tmp_path / "runs" / "sent"


def edited(run: Path, file: str, change: Callable[[Any], Any]) -> None:
    content = json.loads((run / file).read_text())
    (run / file).write_text(json.dumps(change(content)))


def naming(file: str) -> Callable[[Path], None]:
    def change(crops: list[Any]) -> list[Any]:
        crops[0]["files"]["truth"] = file
        return crops

    return lambda run: edited(run, "crops/crops.json", change)


def in_place(
    make: Callable[[Path], object], file: str = "crops/0-truth.png"
) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        if (run / file).is_dir():
            shutil.rmtree(run / file)
        else:
            (run / file).unlink()
        make(run / file)

    return change


def link(to: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(path.parents[3 if path.parent.name == "crops" else 2] / to)


def png(width: int, height: int) -> bytes:
    """A PNG of one colour; some megabytes of it are a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    row = b"\0" * (3 * width + 1)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def expands(run: Path) -> None:
    """An NPZ of half a megabyte that holds half a gigabyte, as its headers say."""
    with zipfile.ZipFile(run / "maps.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("ours", "bicubic"):
            with archive.open(f"{name}.npy", "w") as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": (64, 1024, 1024)}
                np.lib.format.write_array_header_1_0(file, header)
                for _ in range(16):
                    file.write(bytes(1 << 24))


def crowded(run: Path) -> None:
    """An NPZ of very many empty members."""
    with zipfile.ZipFile(run / "maps.npz", "w") as archive:
        for number in range(60_000):
            archive.writestr(f"{number}", b"")


def encrypted(run: Path) -> None:
    """An NPZ whose members say that they are encrypted, in both of their headers."""
    content = bytearray((run / "maps.npz").read_bytes())
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(header)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(header, at + 1)
    (run / "maps.npz").write_bytes(content)


def rows_without_end(run: Path) -> None:
    with (run / "frames.csv").open("a") as file:
        file.write("0,0,1,1,1,1,1,1\n" * 2_000_000)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def config(text: str) -> Callable[[Path], None]:
    return lambda run: (run / "config.yaml").write_text(text, encoding="utf-8") and None


ODD: dict[str, Callable[[Path], None]] = {
    "a path of the system": naming("/etc/passwd"),
    "above the folder": naming("../../../private.txt"),
    "a file that is a link": in_place(link("private.txt")),
    "a folder that is a link": in_place(link("private"), "crops"),
    "crops.json is a link": in_place(link("private.txt"), "crops/crops.json"),
    "a device": in_place(lambda path: path.symlink_to("/dev/zero")),
    "a FIFO": in_place(os.mkfifo),
    "metrics.json is a FIFO": in_place(os.mkfifo, "metrics.json"),
    "config.yaml is a FIFO": in_place(os.mkfifo, "config.yaml"),
    "provenance.json is a device": in_place(
        lambda path: path.symlink_to("/dev/zero"), "provenance.json"
    ),
    "frames.csv is a FIFO": in_place(os.mkfifo, "frames.csv"),
    "curves.csv is a link": in_place(link("private.txt"), "curves.csv"),
    "maps.npz is a FIFO": in_place(os.mkfifo, "maps.npz"),
    "not a picture": in_place(lambda path: path.write_text("<svg onload='alert(1)'/>")),
    "a picture that is larger than it says": in_place(
        lambda path: path.write_bytes(png(8_000, 8_000))
    ),
    "a file of terabytes": in_place(lambda path: path.touch() or os.truncate(path, 1 << 40)),
    "metrics.json of gigabytes": in_place(
        lambda path: path.touch() or os.truncate(path, 1 << 32), "metrics.json"
    ),
    "a YAML bomb": config(BOMB),
    "a number of very many digits": config(f"seed: {'9' * 4000}"),
    "nested deeply": config("[" * 100_000),
    "a list": config("- 1\n- 2"),
    "patches are a text": config("patches: none"),
    "halves of letters": config('name: "\\ud800"\nsampler: 3'),
    "ratios are texts": config("sampler: {ratios: [a, b]}"),
    "an array that expands": expands,
    "very many arrays": crowded,
    "encrypted arrays": encrypted,
    "rows without end": rows_without_end,
    "metrics.json has a key twice": lambda run: (
        (run / "metrics.json").write_text(
            (run / "metrics.json").read_text().replace('"scale": 2,', '"scale": 2, "scale": 3,')
        )
        and None
    ),
    "provenance.json is a list": lambda run: edited(run, "provenance.json", lambda _: []),
    "versions are numbers": lambda run: edited(
        run, "provenance.json", lambda it: it | {"packages": 3}
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_run_is_left_out_with_one_line(odd: str, sent: Path, tmp_path: Path, report) -> None:
    ODD[odd](sent)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, out, err = report(f"runs={tmp_path / 'runs'}", "out=all")
    assert code == 0, err
    (line,) = err.splitlines()
    assert line.startswith("note: a run is left out: ") and "sent" in line
    assert out.count("awDNN") == 1
    page = (tmp_path / "all" / "report.html").read_text(encoding="utf-8")
    assert SECRET not in page and "c2VjcmV0" not in page and "root:x:" not in page
    assert time.monotonic() - began < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024 * MEGABYTES
    code, _, err = report(f"runs={sent}", "out=alone")
    assert code == 2 and len(err.splitlines()) == 1 and err.startswith("stdo: ")


VALUES = [None, "text", [], {}, -1, 1e400, float("nan"), 10**400, True, [None], {"frame": None}]


@pytest.mark.parametrize("value", VALUES, ids=str)
@pytest.mark.parametrize(
    "key",
    ["video", "method", "scale", "frames", "chunks", "psnr", "bicubic", "chunk_psnr", "seconds",
     "device", "seed", "passes", "patches", "patch_presentations", "ratios", "bytes", "delivered",
     "anything"],
)  # fmt: skip
def test_odd_figures_are_shown_or_left_out(
    key: str, value: object, sent: Path, tmp_path: Path, report
) -> None:
    edited(sent, "metrics.json", lambda metrics: metrics | {key: value})
    code, out, err = report(f"runs={tmp_path / 'runs'}", "html=false")
    assert code == 0, err
    shown = out.count("awDNN") > 1 or " 2 " in out
    assert len(err.splitlines()) == (0 if shown else 1), err
    assert "Traceback" not in err


def test_nothing_from_a_run_steers_the_terminal(sent: Path, tmp_path: Path, report) -> None:
    edited(
        sent,
        "metrics.json",
        lambda it: (
            it | {"video": f"clip{ESCAPE}", "method": f"m\u202e{ESCAPE}", "fingerprint": "0 0"}
        ),
    )
    settings = yaml.safe_load((sent / "config.yaml").read_text()) | {"extra": ESCAPE}
    (sent / "config.yaml").write_text(yaml.safe_dump(settings))
    shutil.copytree(sent, sent.with_name("again"))
    settings |= {"extra": f"other{ESCAPE}"}
    (sent.with_name("again") / "config.yaml").write_text(yaml.safe_dump(settings))
    code, out, err = report(f"runs={tmp_path / 'runs'}", "out=all")
    assert (code, err) == (0, "")
    assert "clip?]0;owned??[2J" in out
    edited(sent, "metrics.json", lambda it: it | {"device": ESCAPE})
    _, out, err = report(f"runs={sent}")
    assert "device='\\x1b" in err
    for text in (out, err, (tmp_path / "all" / "results.tsv").read_text()):
        assert not any(each in text for each in "\x1b\x07\u202e")


@pytest.mark.parametrize("sign", "=+-@＝\t\r")
def test_no_cell_is_a_formula(sign: str, sent: Path, tmp_path: Path, report) -> None:
    text = f"{sign}cmd|' /C calc'!A0"
    edited(sent, "metrics.json", lambda it: it | {"video": text, "scorer": text})
    edited(sent, "provenance.json", lambda it: it | {"started": text, "command": [text]})
    assert report(f"runs={tmp_path / 'runs'}", "html=false", "out=all")[0] == 0
    with (tmp_path / "all" / "results.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(io.StringIO(file.read()), dialect="excel-tab"))
    assert len(rows) == 3
    cells = [cell for row in rows for cell in row if cell.startswith(tuple("=+-@＝\t\r"))]
    assert all(float(each.split()[0]) < 0 for each in cells), "figures stay numbers"
    if sign not in "\t\r":
        assert f"'{text}" in rows[2] or f"'{text}" in rows[1]


PRIVATE = ("/somewhere/private", "Linux-6.1.0-private-kernel", "My Private CPU", "+secret = 1")


@pytest.mark.parametrize("private", [False, True])
def test_what_the_page_tells_of_its_author(
    private: bool, sent: Path, tmp_path: Path, report
) -> None:
    def told(it: dict[str, Any]) -> dict[str, Any]:
        machine = {"system": PRIVATE[1], "processor": PRIVATE[2], "cores": 3}
        return it | {
            "machine": machine,
            "diff": PRIVATE[3],
            "command": ["train.py", f"video.path={PRIVATE[0]}/a.mp4"],
        }

    edited(sent, "provenance.json", told)
    settings = yaml.safe_load((sent / "config.yaml").read_text())
    settings["video"]["path"] = settings["paths"]["cache"] = f"{PRIVATE[0]}/a.mp4"
    (sent / "config.yaml").write_text(yaml.safe_dump(settings))
    code, _, err = report(f"runs={sent}", "out=all", *(["private=true"] if private else []))
    assert (code, err) == (0, "")
    page = (tmp_path / "all" / "report.html").read_text(encoding="utf-8")
    assert [each in page for each in PRIVATE] == [private] * 4
    assert "a.mp4" in page
    assert "made with uncommitted changes" in page
    assert report(f"runs={sent}", "private=perhaps")[2].startswith(
        "stdo: private=perhaps: must be true or false"
    )
