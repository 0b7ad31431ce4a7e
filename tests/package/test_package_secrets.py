"""What a package tells of whoever made it: nothing."""

import getpass
import platform
import socket
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import onnx
import pytest

from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score
from stdo.encoder.pack import Delivery, deliver
from stdo.pipeline.steps import Job, train
from stdo.training.data import PatchData
from stdo.video.clip import Clip, PatchSize
from stdo.video.codecs import LOSSY
from stdo.video.degrade import BicubicUpscaler, Degrade
from stdo.video.reader import VideoFile
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

MARKS = {
    "HOME": "/home/mark-home", "USER": "mark-user", "LOGNAME": "mark-logname",
    "HOSTNAME": "mark-host", "AWS_SECRET_ACCESS_KEY": "mark-secret", "WANDB_API_KEY": "mark-key",
    "EMAIL": "mark@example.org", "PWD": "/mark-pwd",
}  # fmt: skip


SLOW = [pytest.param(codec, marks=pytest.mark.slow) for codec in (None, *LOSSY) if codec != "x264"]


@pytest.mark.parametrize("codec", ["x264", *SLOW])
def test_no_environment_path_user_or_host_is_in_a_package(
    codec: str | None, make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = {
        str(Path.home()),
        str(tmp_path),
        str(Path(__file__).parents[2]),
        f"/{getpass.getuser()}",
        str(Path.cwd()),
    }
    real |= {name for name in (socket.gethostname(), platform.node()) if len(name) > 4}
    for name, value in MARKS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "gethostname", lambda: "mark-host")
    monkeypatch.setattr(platform, "node", lambda: "mark-host")
    folder = tmp_path / "mark-folder"
    folder.mkdir()
    with VideoWriter(folder / "clip.mp4", 128, 96, Fraction(25), "x264") as writer:
        for frame in GeneratedClip(width=128, height=96, frames=3, rate=25):
            writer.write(frame)
    size, scorer = PatchSize(24, 32), ByPsnr(BicubicUpscaler(2))
    source = VideoFile(folder / "clip.mp4")
    clip = Clip(source, Degrade(2, codec), size, folder / "cache")
    data = PatchData(clip, scorer, by_score, 2)
    command = ["train.py", f"video.path={folder}/clip.mp4", "key=mark-command"]
    job = make_job(data=data, chunks=2, passes=1.0, command=command, config="who: mark-config")
    train(job)
    package = deliver(job.directory, job.data.clip, Delivery()).path
    searched = everything_in(package, tmp_path / "lr.mp4")
    for mark in {"mark-", "mark@", *real}:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            assert mark.encode(encoding) not in searched, mark
    assert b"mark-command" in (job.directory / "provenance.json").read_bytes(), (
        "the marks are seen where they belong"
    )


def everything_in(package: Path, stream: Path) -> bytes:
    """The file, each member, and what is told of the stream and the graph in words."""
    found = [package.name.encode(), package.read_bytes()]
    with zipfile.ZipFile(package) as archive:
        for name in archive.namelist():
            found += [
                name.encode(),
                archive.read(name),
                archive.getinfo(name).comment,
                archive.getinfo(name).extra,
            ]
        model = onnx.load_from_string(archive.read("graph.onnx"))
        stream.write_bytes(archive.read("lr.mp4"))
    found.append(str(model).encode())
    assert not model.doc_string and not model.metadata_props and not model.graph.doc_string
    assert not any(
        part.metadata_props or part.doc_string for part in (*model.graph.node, *model.graph.input)
    )
    with av.open(str(stream)) as container:
        found.append(str(container.metadata).encode())
        found += [
            f"{each.metadata} {each.codec_context.extradata!r}".encode()
            for each in container.streams
        ]
        found += [bytes(packet) for packet in container.demux()]
    return b"\n".join(found)
