"""The client's networks against PyTorch, and graphs that are not backbones'."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tiny_package import VARIANTS, disturbed, graph_of, smooth

from stdo.core.types import UserError
from stdo.models.pixels import to_float, to_uint8
from stdo.player.model import macs, network_model
from stdo.player.runtime import Runtime, core


def weights_of(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def in_torch(network: torch.nn.Module, windows: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return to_uint8(network(to_float(torch.from_numpy(windows)))).numpy()


def patches(networks: Runtime, index: int, windows: np.ndarray) -> np.ndarray:
    """All that a network makes of all windows, in memory that held other numbers."""
    count, height, width, _ = windows.shape
    scale = networks._scale
    out = np.full((count, height * scale, width * scale, 3), 99, np.uint8)
    networks.run(index, windows, out, range(count))
    return out


SLOW = [pytest.param(name, 3, residual, marks=pytest.mark.slow) for name, residual in VARIANTS]


@pytest.mark.parametrize(
    ("name", "scale", "residual"),
    [("espcn", 2, "none"), ("espcn", 4, "none"), ("espcn", 4, "bicubic"), *SLOW],
)
def test_pixels_equal_pytorchs_to_one_level(name: str, scale: int, residual: str) -> None:
    both = [disturbed(name, scale, seed, residual=residual) for seed in range(2)]
    networks = Runtime(
        graph_of(name, scale, residual), [weights_of(each) for each in both], scale, 2
    )
    windows = np.random.default_rng(0).integers(0, 256, (3, 20, 24, 3), np.uint8)
    for index, network in enumerate(both):
        difference = np.abs(
            patches(networks, index, windows).astype(int) - in_torch(network, windows)
        )
        assert difference.max() <= 1
        assert (difference > 0).mean() < 1e-3


def test_values_beyond_black_and_white_are_clamped_and_halves_round_to_even() -> None:
    pixels = np.arange(256, dtype=np.float32)
    lr = helper.make_tensor_value_info("lr", TensorProto.FLOAT, ["n", 3, "h", "w"])
    sr = helper.make_tensor_value_info("sr", TensorProto.FLOAT, None)
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [12, 3, 1, 1]) for name in ("w",)
    ]
    nodes = [
        helper.make_node("Conv", ["lr", "w"], ["y"]),
        helper.make_node("DepthToSpace", ["y"], ["sr"], blocksize=2),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [lr, *shapes], [sr]),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    weight = np.zeros((12, 3, 1, 1), np.float32)
    for row, factor in enumerate((0.5, 1.0, 1.5, -1.0)):
        weight[3 * row : 3 * row + 3, :, 0, 0] = np.eye(3) * factor
    networks = Runtime(model.SerializeToString(), [{"w": weight}], 2, 1)
    windows = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, 3)
    out = (
        patches(networks, 0, windows)[0, :, :, 0]
        .reshape(16, 2, 16, 2)
        .transpose(1, 3, 0, 2)
        .reshape(4, 256)
    )
    for row, factor in zip(out, (0.5, 1.0, 1.5, -1.0), strict=True):
        exact = np.clip(pixels * factor, 0, 255)
        assert np.abs(row - exact).max() <= 0.5 + 1e-6


def test_bfloat16_stays_within_a_few_levels() -> None:
    network = disturbed("espcn", 4, strength=0.003)
    networks = Runtime(graph_of("espcn", 4), [weights_of(network)], 4, 1, "bfloat16")
    windows = np.stack(smooth(40, 48, 2))
    assert np.abs(patches(networks, 0, windows).astype(int) - in_torch(network, windows)).max() <= 3


def test_only_the_members_are_written() -> None:
    network = disturbed("espcn", 2)
    windows, out = np.stack(smooth(10, 12, 4)), np.full((4, 20, 24, 3), 99, np.uint8)
    Runtime(graph_of("espcn", 2), [weights_of(network)], 2, 1).run(0, windows, out, [2, 0])
    expected = in_torch(network, windows)
    assert np.abs(out[[0, 2]].astype(int) - expected[[0, 2]]).max() <= 1
    assert (out[[1, 3]] == 99).all()


def test_threads_may_share_it() -> None:
    both = [disturbed("espcn", 2, seed) for seed in range(2)]
    networks = Runtime(graph_of("espcn", 2), [weights_of(each) for each in both], 2, 2)
    windows = np.random.default_rng(0).integers(0, 256, (5, 10, 12, 3), np.uint8)
    expected = [in_torch(network, windows) for network in both]
    worst = []

    def work(index: int) -> None:
        for _ in range(20):
            worst.append(  # noqa: PERF401
                np.abs(patches(networks, index, windows).astype(int) - expected[index]).max()
            )

    threads = [threading.Thread(target=work, args=(index % 2,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(worst) == 80 and max(worst) <= 1


def test_a_network_is_made_ready_as_often_as_threads_ask_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, made_ready = [], Runtime._made
    monkeypatch.setattr(Runtime, "_made", lambda *each: made.append(each) or made_ready(*each))
    networks = Runtime(graph_of("espcn", 2), [weights_of(disturbed("espcn", 2))], 2, 3)
    for _ in range(3):
        networks.prepare(0, (10, 12))
    assert len(made) == 1, "one after the other they share it"
    everyone = threading.Barrier(3)

    def hold() -> None:
        with networks._request(0, (10, 12)):
            everyone.wait(30)

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 3


def test_whoever_waits_for_a_network_that_cannot_be_made_hears_why() -> None:
    """One may be made at a time; the second thread waits for the first one's."""
    networks = Runtime(graph_of("espcn", 4), [weights_of(disturbed("espcn", 2))], 2, 1)
    networks._costs_of[10, 12] = 1, 1.0
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(networks.prepare, 0, (10, 12)) for _ in range(4)]:
            with pytest.raises(UserError, match=r"graph\.onnx"):
                future.result(30)


def test_more_networks_than_are_kept_ready() -> None:
    many = [disturbed("espcn", 2, seed) for seed in range(3)]
    networks = Runtime(graph_of("espcn", 2), [weights_of(each) for each in many], 2, 1, resident=2)
    windows = np.random.default_rng(0).integers(0, 256, (2, 10, 12, 3), np.uint8)
    for index in (0, 1, 2, 0):
        assert (
            np.abs(
                patches(networks, index, windows).astype(int) - in_torch(many[index], windows)
            ).max()
            <= 1
        )


def changed(graph: bytes, change) -> bytes:
    model = onnx.load_from_string(graph)
    change(model.graph)
    return model.SerializeToString()


def huge(graph: onnx.GraphProto) -> None:
    """A tensor of 2^40 values out of a few bytes."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [4], [1, 2**20, 2**20, 1])
    graph.initializer.append(shape)
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [0.0])
    graph.initializer.append(one)
    graph.node.insert(0, helper.make_node("Expand", ["one", "shape"], ["big"]))
    graph.node.append(helper.make_node("Add", [graph.output[0].name, "big"], ["out"]))
    graph.output[0].CopyFrom(helper.make_tensor_value_info("out", TensorProto.FLOAT, None))


def other_step(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Sin", [graph.output[0].name], ["out"]))
    graph.output[0].CopyFrom(helper.make_tensor_value_info("out", TensorProto.FLOAT, None))


def renamed(graph: onnx.GraphProto) -> None:
    """Its weights have other names."""
    graph.input[1].name = graph.node[0].input[1] = "head.weight"


def other_scale(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type == "DepthToSpace":
            node.attribute[[a.name for a in node.attribute].index("blocksize")].i = 1


def leaking(alpha: float | int, *more: float) -> Callable[[onnx.GraphProto], None]:
    """An activation with this slope below zero."""

    def change(graph: onnx.GraphProto) -> None:
        node = next(node for node in graph.node if node.op_type == "Relu")
        node.op_type = "LeakyRelu"
        node.attribute.append(helper.make_attribute("alpha", alpha))
        node.attribute[0].floats.extend(more)

    return change


def enlarging(graph: bytes, **attributes: object) -> bytes:
    """A transposed convolution by FSRCNN's attributes, but for some: behind the picture of another
    backbone."""
    usual = {"strides": [1, 1], "pads": [0, 0, 0, 0], "kernel_shape": [1, 1]}

    def change(graph: onnx.GraphProto) -> None:
        sr = graph.output[0].name
        graph.input.append(
            helper.make_tensor_value_info("up.weight", TensorProto.FLOAT, [3, 3, 1, 1])
        )
        graph.node.append(
            helper.make_node("ConvTranspose", [sr, "up.weight"], ["out"], **usual | attributes)
        )
        graph.output[0].CopyFrom(helper.make_tensor_value_info("out", TensorProto.FLOAT, None))

    return changed(graph, change)


BAD_ENLARGEMENTS = {
    "a huge stride": {"strides": [1 << 20, 1]},
    "a stride of nothing": {"strides": [0, 1]},
    "a stride below nothing": {"strides": [-1, 1]},
    "a stride beyond the picture": {"strides": [4, 4]},
    "output_padding": {"strides": [2, 2], "output_padding": [1 << 20, 0]},
    "output_padding below nothing": {"output_padding": [-1, 0]},
    "output_padding of many sides": {"output_padding": [3] * 9},
    "dilation": {"dilations": [1 << 16, 1 << 16]},
    "groups": {"group": 3},
    "a size of its own": {"output_shape": [1 << 20, 1 << 20]},
    "padding": {"pads": [1 << 20] * 4},
    "automatic padding": {"auto_pad": "SAME_UPPER"},
    "a kernel beyond all": {"kernel_shape": [66, 66]},
}


BAD_GRAPHS = {
    "nothing": lambda graph: b"",
    "text": lambda graph: b"<html>",
    "half of it": lambda graph: graph[: len(graph) // 2],
    "another backbone's": lambda graph: changed(graph, renamed),
    "another scale's": lambda graph: graph_of("espcn", 4),
    "a step that no backbone has": lambda graph: changed(graph, other_step),
    "a result of another size": lambda graph: changed(graph, other_scale),
    "a tensor that fills the memory": lambda graph: changed(graph, huge),
    "a steep slope": lambda graph: changed(graph, leaking(1.5)),
    "a slope that falls": lambda graph: changed(graph, leaking(-0.5)),
    "a slope that is no number": lambda graph: changed(graph, leaking(float("nan"))),
    "a slope of whole numbers": lambda graph: changed(graph, leaking(0)),
    "several slopes": lambda graph: changed(graph, leaking(0.1, 0.2)),
}


@pytest.mark.parametrize("kind", BAD_GRAPHS)
def test_a_graph_that_is_no_backbones_is_refused(kind: str) -> None:
    graph = BAD_GRAPHS[kind](graph_of("espcn", 2))
    with pytest.raises(UserError, match=r"graph\.onnx") as caught:
        Runtime(graph, [weights_of(disturbed("espcn", 2))], 2, 1).prepare(0, (10, 12))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", BAD_ENLARGEMENTS)
def test_a_transposed_convolution_that_is_no_backbones_is_refused(kind: str) -> None:
    weights = weights_of(disturbed("espcn", 2)) | {"up.weight": np.ones((3, 3, 1, 1), np.float32)}
    graph = graph_of("espcn", 2)
    Runtime(enlarging(graph), [weights], 2, 1).prepare(0, (10, 12))  # as it is, it may be there
    with pytest.raises(UserError, match=r"graph\.onnx") as caught:
        Runtime(enlarging(graph, **BAD_ENLARGEMENTS[kind]), [weights], 2, 1).prepare(0, (10, 12))
    assert "\n" not in str(caught.value)


def chain(steps: int, channels: int, kernel: int) -> tuple[bytes, dict[str, np.ndarray]]:
    """Transposed convolutions, each of which doubles the sides."""
    lr = helper.make_tensor_value_info("lr", TensorProto.FLOAT, ["n", 3, "h", "w"])
    sr = helper.make_tensor_value_info(f"y{steps}", TensorProto.FLOAT, None)
    shapes = [[3 if step == 0 else channels, channels, kernel, kernel] for step in range(steps)]
    given = [
        helper.make_tensor_value_info(f"w{i}", TensorProto.FLOAT, shape)
        for i, shape in enumerate(shapes)
    ]
    nodes = [
        helper.make_node(
            "ConvTranspose", [f"y{i}" if i else "lr", f"w{i}"], [f"y{i + 1}"], strides=[2, 2]
        )
        for i in range(steps)
    ]
    graph = helper.make_graph(nodes, "g", [lr, *given], [sr])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return model.SerializeToString(), {
        f"w{i}": np.zeros(shape, np.float32) for i, shape in enumerate(shapes)
    }


@pytest.mark.parametrize(
    ("steps", "channels", "said"), [(9, 64, "its steps hold"), (20, 1, "its steps hold")]
)
def test_what_transposed_convolutions_make_is_counted_before_it_is_made(
    steps: int, channels: int, said: str
) -> None:
    graph, weights = chain(steps, channels, 2)
    with pytest.raises(UserError, match=said):
        Runtime(graph, [weights], 2, 1).prepare(0, (64, 64))


def test_what_a_transposed_convolution_adds_up_is_counted() -> None:
    """Products of one channel's filters are held at once: 65x65 for each of 300x300 numbers."""
    graph, weights = chain(1, 1, 65)
    with pytest.raises(UserError, match=r"its steps hold 14\d\d MiB"):
        Runtime(graph, [weights], 2, 1).prepare(0, (300, 300))


def test_what_transposed_convolutions_multiply_is_counted_as_they_read_it() -> None:
    graph, weights = chain(2, 3, 2)
    read = 10 * 12 + 20 * 24
    assert macs(network_model(core(), graph, weights, 4, (10, 12))) == read * 3 * 3 * 2 * 2


def test_an_activation_may_leak() -> None:
    windows, network = np.zeros((1, 10, 12, 3), np.uint8), disturbed("espcn", 2)
    graph = changed(graph_of("espcn", 2), leaking(0.25))
    patches(Runtime(graph, [weights_of(network)], 2, 1), 0, windows)


@pytest.mark.parametrize(("setting", "value"), [("precision", "float8"), ("device", "TPU")])
def test_settings_out_of_range_name_what_is_allowed(setting: str, value: str) -> None:
    with pytest.raises(UserError, match=f"{setting}={value}: must be one of"):
        Runtime(graph_of("espcn", 2), [], 2, 1, **{setting: value})


def test_a_signal_after_players_came_and_went_is_no_crash(tmp_path: Path) -> None:
    """OpenVINO moves the stack that signal handlers run on; it must still be there."""
    code = """
import os, signal, sys
from pathlib import Path
from stdo.player.model import macs, network_model
from stdo.player.runtime import Runtime, core
networks = [Runtime(Path(sys.argv[1]).read_bytes(), [], 2, 1) for _ in range(4)]
while networks:
    del networks[0]
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGTERM)
"""
    (tmp_path / "graph.onnx").write_bytes(graph_of("espcn", 2))
    command = [sys.executable, "-c", code, tmp_path / "graph.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
