"""How fast a package plays, beside its networks alone, and which runtime computes them fastest.

    python benchmarks/play.py [--backbone espcn] [--residual bicubic] [--scale 4]
                              [--networks 4] [--halo 0]
                              [--frames 120] [--threads 1 2] [--rounds 5]

A package of 1080p is made of a generated clip and untrained networks, whose speed is that of
trained ones. Runtimes take turns in one process: frames per second, and per second of one core,
which counts when the machine is shared. The player runs in processes of its own, so that memory and
the time to the first frame are its own.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from msgspec.structs import replace

from common import machine, tsv
from stdo.chunks.grid import PatchGrid
from stdo.core.networks import Networks
from stdo.core.types import Colour
from stdo.encoder.graph import export_graph
from stdo.models.common import Backbone, plain
from stdo.models.pixels import to_float, to_uint8
from stdo.models.registry import BACKBONES, build, name_of
from stdo.package import labels, weights
from stdo.package.container import write_package
from stdo.package.limits import CHUNKS, GRAPH, WEIGHTS
from stdo.package.manifest import Manifest, Network, Patches, Quantiser, Stream
from stdo.package.source import Source
from stdo.player.client import Player
from stdo.player.runtime import PRECISIONS, Runtime
from stdo.video.clip import PatchSize
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

HEIGHT, WIDTH = 1080, 1920

FIRST_FRAME = """
import sys
from stdo.player.client import Player
next(iter(Player(sys.argv[1], threads=int(sys.argv[2]), precision=sys.argv[3])))
"""


def make_package(
    folder: Path, network: Backbone, networks: int, frames: int, scale: int, halo: int = 0
) -> Path:
    """A package as `stdo.deliver` writes it, of networks that were never trained and labels drawn
    at random."""
    height, width = HEIGHT // scale, WIDTH // scale
    clip = GeneratedClip(width=width, height=height, frames=frames, rate=24, seed=0)
    with VideoWriter(folder / "lr.mp4", width, height, Fraction(24), "x264", crf=20) as writer:
        for frame in clip:
            writer.write(frame)
    grid = grid_of(scale, halo)
    rng = np.random.default_rng(0)
    labels_TRC = (
        rng.integers(0, networks, (1, grid.rows, grid.cols)).repeat(frames, 0).astype(np.int16)
    )
    tensors = {name: tensor.numpy() for name, tensor in plain(network).state_dict().items()}
    manifest = Manifest(
        generator="benchmark",
        name="benchmark",
        scale=scale,
        source=Source.of(WIDTH, HEIGHT, frames, Fraction(24), Colour("bt709", "limited")),
        lr=Stream("lr.mp4", width, height, "x264", 20, None, 0),
        grid=Patches(grid.patch_h, grid.patch_w, grid.halo),
        network=Network(
            name_of(network),
            tuple(weights.params_of(tensors)),
            networks,
            tuple(range(networks)),
            network.receptive_radius,
        ),
        quantiser=Quantiser(8),
        quality=None,
        bicubic=None,
        members={},
    )
    members = {
        GRAPH: export_graph(network),
        WEIGHTS: weights.encode(Networks([tensors] * networks), 8),
        CHUNKS: labels.encode(labels_TRC, networks),
        "lr.mp4": folder / "lr.mp4",
    }
    path = folder / "benchmark.stdo"
    write_package(path, manifest, members)
    player = Player(path)
    observed = player.networks.observe()
    next(iter(player))
    ranges = observed.ranges(networks, manifest.network.convolutions)
    write_package(
        path, replace(manifest, network=replace(manifest.network, ranges=ranges)), members
    )
    return path


def grid_of(scale: int, halo: int = 0) -> PatchGrid:
    """The paper's grid on the LR frame, without a halo; B-STDO has one of 2."""
    return PatchSize(halo=halo).grid(HEIGHT // scale, WIDTH // scale, scale)


def runtimes(network: Backbone, scale: int, threads: int) -> dict[str, Callable[[], object]]:
    """What computes ``threads`` frames at once, by name: as patches one by one, as the player does,
    or each whole."""
    network, grid = plain(network), grid_of(scale)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    graph = export_graph(network)
    frame = np.random.default_rng(0).integers(0, 256, (1, grid.height, grid.width, 3), np.uint8)
    patches = grid.extract(frame[0])
    session = in_onnxruntime(graph, state)
    found: dict[str, Callable[[], object]] = {}
    for name, windows in (("patches", patches), ("frame", frame)):
        watched = Runtime(graph, [state], scale, threads)
        observed = watched.observe()
        in_openvino(watched, windows, scale)
        names = [key for key, array in state.items() if array.ndim == 4]
        ranges = [dict(zip(names, observed.ranges(1, names)[0], strict=True))]
        for precision in PRECISIONS:
            networks = Runtime(graph, [state], scale, threads, precision, ranges=ranges)
            found[f"openvino {precision} {name}"] = partial(
                side_by_side, threads, in_openvino, networks, windows, scale
            )
        found[f"onnxruntime float32 {name}"] = partial(side_by_side, threads, session, windows)
    found["pytorch float32 patches"] = partial(
        in_pytorch, network, torch.from_numpy(patches), threads
    )
    return found


def side_by_side(threads: int, run: Callable[..., object], *arguments: object) -> None:
    """Do the same in every thread."""
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(run, *arguments) for _ in range(threads)]:
            future.result()


def in_openvino(networks: Runtime, windows: np.ndarray, scale: int) -> None:
    """Windows as the player computes them, into memory of their own."""
    count, height, width, _ = windows.shape
    networks.run(
        0, windows, np.empty((count, scale * height, scale * width, 3), np.uint8), range(count)
    )


def in_onnxruntime(graph: bytes, state: dict[str, np.ndarray]) -> Callable[[np.ndarray], None]:
    """Windows one by one through ONNX Runtime, with the weights put into the graph, where it can
    pack them."""
    model = onnx.load_from_string(graph)
    for each in [each for each in model.graph.input if each.name in state]:
        model.graph.input.remove(each)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in state.items()
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def run(windows: np.ndarray) -> None:
        for window in np.split(windows, len(windows)):
            lr_NCHW = np.ascontiguousarray(window.transpose(0, 3, 1, 2), np.float32) / 255
            sr_NCHW = session.run(None, {"lr": lr_NCHW})[0]
            np.clip(np.rint(sr_NCHW * 255), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)

    return run


@torch.inference_mode()
def in_pytorch(network: Backbone, windows: torch.Tensor, threads: int) -> None:
    """As the server does, on all threads together."""
    torch.set_num_threads(threads)
    for _ in range(threads):
        for part in windows.split(32):
            to_uint8(network(to_float(part)))


def compare(network: Backbone, scale: int, threads: int, rounds: int) -> None:
    """Print frames per second of every runtime, medians of turns."""
    works = runtimes(network, scale, threads)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            if turn:
                times[name].append(
                    ((time.perf_counter() - wall) / threads, (time.process_time() - cpu) / threads)
                )
    for name, pairs in times.items():
        tsv(
            threads,
            name,
            *(f"{1 / statistics.median(column):.1f}" for column in zip(*pairs, strict=True)),
        )


def play(package: Path, threads: int) -> None:
    """Print what ``--benchmark`` says, and the time from nothing to the first frame."""
    for precision in PRECISIONS:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", FIRST_FRAME, package, str(threads), precision], check=True
        )
        first = time.perf_counter() - began
        command = [sys.executable, "-m", "stdo.play", package, "--benchmark"]
        done = subprocess.run(
            [*command, "--threads", str(threads), "--precision", precision],
            check=True,
            capture_output=True,
            text=True,
        )
        print(f"\n{precision}: {done.stdout}process start to first frame {first:.2f} s")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="espcn", choices=sorted(BACKBONES))
    parser.add_argument(
        "--residual", choices=["none", "bicubic"], help="what the networks predict; as published"
    )
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument(
        "--halo", type=int, default=0, help="LR pixels of context around the package's patches"
    )
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    network = build(options.backbone, options.scale, residual=options.residual)
    print(
        f"# {machine()}; {options.backbone} x{options.scale}, "
        f"residual {network.residual}, {WIDTH}x{HEIGHT}"
    )
    tsv("threads", "runtime", "fps", "fps_per_core")
    for threads in options.threads:
        compare(network, options.scale, threads, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        package = make_package(
            Path(folder), network, options.networks, options.frames, options.scale, options.halo
        )
        for threads in options.threads:
            play(package, threads)


if __name__ == "__main__":
    main()
