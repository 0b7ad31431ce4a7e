"""The formats of `stdo.encoder.export`: how each is written, and run by its own runtime. Server
only."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from stdo.core.types import F32, UserError
from stdo.encoder.graph import INPUT, OUTPUT, export_graph, quiet, with_weights
from stdo.models.common import Backbone

Write = Callable[[Backbone, Path], None]
"""Writes one plain network to the files that begin with a path."""


@dataclass(frozen=True)
class Format:
    """One format of exported networks.

    Attributes:
        writer: One of the networks, height and width of LR -> what writes them all.
        run: Path without suffix, LR (1, 3, h, w) float32 -> what the format's own runtime makes of
            it, (1, 3, s·h, s·w), in full float32.
        suffixes: Of the files of one network.
        packages: Converter and runtime.
        inputs, outputs: What the runtime calls them.
        layout: Of both; a runtime without batches takes CHW.
    """

    writer: Callable[[Backbone, int, int], Write]
    run: Callable[[Path, F32], F32]
    suffixes: tuple[str, ...]
    packages: tuple[str, ...]
    inputs: str = INPUT
    outputs: str = OUTPUT
    layout: str = "NCHW"

    def versions(self) -> dict[str, str]:
        """What writes and checks the files, by package."""
        return {name: version(name) for name in ("torch", *self.packages)}


def format_named(name: str) -> Format:
    """A format whose packages are there. Raises UserError for an unknown one, and names the extra
    to install."""
    if name not in FORMATS:
        raise UserError(f"format={name}: must be one of {', '.join(FORMATS)}")
    for package in FORMATS[name].packages:
        if find_spec(package) is None:
            raise UserError(
                f"format={name}: needs the package {package}; pip install "
                f"'stdo[train,export-{name}]'"
            )
    return FORMATS[name]


def _write_onnx(like: Backbone, height: int, width: int) -> Write:
    graph = export_graph(like, (height, width))

    def write(network: Backbone, stem: Path) -> None:
        Path(f"{stem}.onnx").write_bytes(with_weights(graph, network))

    return write


def _run_onnx(stem: Path, lr_NCHW: F32) -> F32:
    runtime = import_module("onnxruntime")
    session = runtime.InferenceSession(f"{stem}.onnx", providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT], {INPUT: lr_NCHW})[0])


def _write_executorch(_: Backbone, height: int, width: int) -> Write:
    """With the operators of XNNPACK, which phones' processors run."""

    def write(network: Backbone, stem: Path) -> None:
        with quiet():
            exir = import_module("executorch.exir")
            xnnpack = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
            program = torch.export.export(network, (torch.rand(1, 3, height, width),))
            lowered = exir.to_edge_transform_and_lower(
                program, partitioner=[xnnpack.XnnpackPartitioner()]
            )
            Path(f"{stem}.pte").write_bytes(lowered.to_executorch().buffer)

    return write


def _run_executorch(stem: Path, lr_NCHW: F32) -> F32:
    runtime = import_module("executorch.runtime").Runtime.get()
    program = runtime.load_program(f"{stem}.pte")  # has to outlive its method
    method = program.load_method("forward")
    (sr_NCHW,) = method.execute((torch.from_numpy(lr_NCHW),))
    return np.array(sr_NCHW.numpy())  # a copy: it lies in the method's memory


def _write_ncnn(like: Backbone, height: int, width: int) -> Write:
    """By way of ONNX, which pnnx reads; it leaves much behind that nobody asked for."""
    graph = export_graph(like, (height, width))

    def write(network: Backbone, stem: Path) -> None:
        with TemporaryDirectory() as folder:
            (Path(folder) / "network.onnx").write_bytes(with_weights(graph, network))
            command = [import_module("pnnx").EXEC_PATH, "network.onnx", "fp16=0"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
            written = [
                Path(folder) / f"network.ncnn{suffix}" for suffix in FORMATS["ncnn"].suffixes
            ]
            if done.returncode or not all(path.is_file() for path in written):
                last = (done.stderr or done.stdout).strip().rpartition("\n")[
                    2
                ] or f"exit code {done.returncode}"
                raise UserError(f"format=ncnn: pnnx cannot convert this network ({last})")
            for path in written:
                shutil.copyfile(path, f"{stem}{path.suffix}")

    return write


def _run_ncnn(stem: Path, lr_NCHW: F32) -> F32:
    ncnn = import_module("ncnn")
    # A Mat does not keep its array alive, and layers write into it
    lr_CHW = np.ascontiguousarray(lr_NCHW[0])
    lr = ncnn.Mat(lr_CHW).clone()
    with ncnn.Net() as net:
        for option in (
            "use_vulkan_compute",
            "use_fp16_packed",
            "use_fp16_storage",
            "use_fp16_arithmetic",
        ):
            setattr(net.opt, option, False)
        if net.load_param(f"{stem}.param") or net.load_model(f"{stem}.bin"):
            raise UserError(f"format=ncnn: ncnn cannot load what pnnx wrote for {stem.name}")
        with net.create_extractor() as extractor:
            extractor.input(FORMATS["ncnn"].inputs, lr)
            return np.array(extractor.extract(FORMATS["ncnn"].outputs)[1])[None]


FORMATS = {
    "onnx": Format(_write_onnx, _run_onnx, (".onnx",), ("onnx", "onnxruntime")),
    "executorch": Format(_write_executorch, _run_executorch, (".pte",), ("executorch",)),
    "ncnn": Format(
        _write_ncnn, _run_ncnn, (".param", ".bin"), ("pnnx", "ncnn"), "in0", "out0", "CHW"
    ),
}
