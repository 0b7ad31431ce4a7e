"""Make the seed corpus: the files of small sound packages and of a small finished run (``python
…/make_corpus.py``).

Each target's first seed is called ``sound`` and must be read without a complaint.
"""

import json
import shutil
import struct
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("package", "stress", "fuzz")]

from package_mutations import members_of, unsealed, written, zipped  # noqa: E402
from package_specimens import KINDS, OTHERS, make_all  # noqa: E402
from targets import CORPUS, FILES, NETWORKS, SHAPES  # noqa: E402
from tiny_package import make, smooth  # noqa: E402

from stdo.core.types import Frame  # noqa: E402
from stdo.encoder.join import Whole, join_parts  # noqa: E402
from stdo.package import labels  # noqa: E402
from stdo.package.container import write_package  # noqa: E402
from stdo.package.manifest import from_json  # noqa: E402
from stdo.video.reader import VideoFile  # noqa: E402
from stdo.video.writer import VideoWriter  # noqa: E402

RUN = (
    "backbone=espcn", "method=stdo", "scale=2", "chunks=2", "video.path=clip.mkv",
    "budget.passes=1", "patches.height=12", "patches.width=16",
)  # fmt: skip


def seed(target: str, name: str, content: bytes) -> None:
    """Write one seed."""
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def from_packages(folder: Path) -> None:
    """Seeds of the targets that read packages."""
    for number, (name, path) in enumerate(make_all(folder, kinds=KINDS | OTHERS).items()):
        members = members_of(path.read_bytes())
        fields = unsealed(members["manifest.json"])
        network = fields["network"]
        called = name if number else "sound"
        seed("manifest", called, written(fields))
        params = tuple((each, tuple(sides)) for each, sides in network["params"])
        setting = params, network["networks"], fields["quantiser"]["bits"]
        if setting in NETWORKS:
            seed("weights", called, bytes([NETWORKS.index(setting)]) + members["weights.bin"])
        source, lr, grid = fields["source"], fields["lr"], fields["grid"]
        rows, cols = -(-lr["height"] // grid["patch_h"]), -(-lr["width"] // grid["patch_w"])
        shape = (source["frames"], rows, cols), len(network["network_of"])
        if shape in SHAPES:
            seed("chunks", called, bytes([SHAPES.index(shape)]) + members["chunks.bin"])
        if name in ("stdo", "nas", "awdnn", "transposed"):
            seed("graph", called, members["graph.onnx"])
            stream = members[lr["member"]][:300]  # the container is read, the video is not
            manifest = from_json(members["manifest.json"])
            small = {key: content for key, content in members.items() if key != "manifest.json"}
            write_package(folder / "small.stdo", manifest, small | {lr["member"]: stream})
            seed("container", called, (folder / "small.stdo").read_bytes())
    labels_TRC = (
        np.random.default_rng(0).integers(0, 4, (300, 4, 4)).cumsum(axis=0).astype(np.int16)
        // 200
        % 4
    )
    seed("chunks", "long", b"\3" + labels.encode(labels_TRC, 4))
    seed("weights", "counts", b"\6" + struct.pack("<3I", 4096, 0, 0) + bytes(400))
    seed("chunks", "counts", b"\4" + struct.pack("<6I", 5, 8, 0, 0, 0, 0) + bytes(400))
    seed("container", "empty", zipped([]))


def from_joined(folder: Path) -> None:
    """Seeds of the targets that read packages in parts."""
    folder.mkdir()
    pts = [Fraction(t, 25) for t in range(4)]
    paths = []
    for number, count in enumerate((3, 1)):
        (folder / str(number)).mkdir()
        one = {"networks": 1, "network_of": (0, -1), "bits": 4}
        paths.append(make(folder / str(number), frames=count, **one).path)
    with VideoWriter(folder / "film.mp4", 70, 50, Fraction(25)) as writer:
        for time, rgb_HWC in zip(pts, smooth(50, 70, 4), strict=True):
            writer.write(Frame(time, rgb_HWC))
    whole = Whole(VideoFile(folder / "film.mp4"), pts, None, (0, 3))
    join_parts(folder / "film.stdo", paths, whole)
    members = members_of((folder / "film.stdo").read_bytes())
    seed("manifest", "parts", written(unsealed(members["manifest.json"])))
    seed("parts", "sound", b"\0" + members["chunks.bin"])
    seed("parts", "weights", b"\1" + members["weights.bin"])


def from_run(folder: Path) -> None:
    """Seeds of the targets that read run directories."""
    with VideoWriter(folder / "clip.mkv", 64, 48, Fraction(25), "lossless") as writer:
        for t, rgb_HWC in enumerate(smooth(48, 64, 4)):
            writer.write(Frame(Fraction(t, 25), rgb_HWC))
    command = [sys.executable, "-m", "stdo.train", *RUN]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (run,) = (path.parent for path in folder.glob("outputs/*/*/metrics.json"))
    for target, name in FILES.items():
        content = (run / name).read_bytes()
        if target == "provenance":  # of no particular machine
            fields = json.loads(content)
            fields |= {
                "machine": {"system": "Linux", "processor": "a processor", "cores": 2},
                "diff": "",
            }
            content = json.dumps(fields, indent=2).encode()
        if target == "crops":  # the one whose pictures there are
            content = json.dumps(json.loads(content)[:1], indent=1).encode()
        seed(target, "sound", content)
    job = {
        "command": "python -m stdo.train",
        "directory": f"outputs/clip/{run.name}",
        "status": "finished",
    }
    failed = job | {"directory": None, "status": "failed", "error": "one line"}
    seed(
        "sweep",
        "sound",
        json.dumps({"study": "fuzz", "jobs": [job | {"error": None}, failed]}, indent=1).encode(),
    )
    seed("json", "sound", (run / "metrics.json").read_bytes())
    seed("json", "numbers", b'{"a": [1, -0.5e-7, null, true, "\\u00e9"], "b": {"c": {}}}')


def main() -> None:
    """Make all seeds anew."""
    shutil.rmtree(CORPUS, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        from_packages(Path(folder))
        from_joined(Path(folder) / "joined")
        from_run(Path(folder))
    total = sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file())
    print(f"{len(list(CORPUS.glob('*/*')))} seeds, {total} bytes")


if __name__ == "__main__":
    main()
