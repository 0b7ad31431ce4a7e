"""Convolutions in 8 bits against PyTorch's own rounding, and the ranges that they need."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from msgspec.structs import replace
from onnx import TensorProto, helper
from tiny_package import VARIANTS, disturbed, graph_of, make, smooth
from torch import nn

from stdo.cli.play import main
from stdo.core.types import UserError
from stdo.models.common import Convolution
from stdo.models.pixels import to_float, to_uint8
from stdo.package.container import Package, write_package
from stdo.package.limits import CHUNKS, GRAPH, WEIGHTS
from stdo.player.client import Player
from stdo.player.int8 import FEWER_LEVELS, WEIGHT_LEVELS
from stdo.player.runtime import PRECISIONS, Runtime

SCALE = 2


def state_of(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def convolutions(network: nn.Module) -> dict[str, Convolution]:
    return {
        f"{name}.weight": each
        for name, each in network.named_modules()
        if isinstance(each, Convolution)
    }


def in_torch(network: nn.Module, windows: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return to_uint8(network(to_float(torch.from_numpy(windows)))).numpy()


def ranges_in_torch(network: nn.Module, windows: np.ndarray) -> dict[str, tuple[float, float]]:
    """Smallest and largest number that each convolution reads, seen by a hook."""
    found: dict[str, tuple[float, float]] = {}

    def seen(name: str):
        return lambda _, read: found.update({name: (float(read[0].min()), float(read[0].max()))})

    hooks = [
        each.register_forward_pre_hook(seen(name)) for name, each in convolutions(network).items()
    ]
    in_torch(network, windows)
    for hook in hooks:
        hook.remove()
    return found


def rounded_in_torch(network: nn.Module, ranges: dict[str, tuple[float, float]]) -> nn.Module:
    """The network as 8 bits compute it, by PyTorch's own rounding; levels of pixels stay as they
    are."""
    picture: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda _, read: picture.append(read[0]))

    def reading(low: float, high: float):
        def rounded(_: nn.Module, read: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            least, most = (0.0, 1.0) if read[0] is picture[-1] else (min(low, 0.0), max(high, 0.0))
            step = (most - least) / 255
            return (
                torch.fake_quantize_per_tensor_affine(read[0], step, round(-least / step), 0, 255),
            )

        return rounded

    for name, each in convolutions(network).items():
        each.register_forward_pre_hook(reading(*ranges[name]))
        outputs = 1 if isinstance(each, nn.ConvTranspose2d) else 0
        step = (
            each.weight.detach().transpose(0, outputs).abs().amax((1, 2, 3)).clamp_min(1e-12) / 127
        )
        zero = torch.zeros(len(step), dtype=torch.int32)
        each.weight.data = torch.fake_quantize_per_channel_affine(
            each.weight.data, step, zero, outputs, -127, 127
        )
    return network


def run(networks: Runtime, windows: np.ndarray) -> np.ndarray:
    count, height, width, _ = windows.shape
    out = np.empty((count, SCALE * height, SCALE * width, 3), np.uint8)
    networks.run(0, windows, out, range(count))
    return out


@pytest.mark.parametrize(("name", "residual"), VARIANTS)
def test_the_server_keeps_what_convolutions_read_and_pixels_are_pytorchs(
    name: str, residual: str
) -> None:
    network, graph = disturbed(name, SCALE, residual=residual), graph_of(name, SCALE, residual)
    windows, state = np.stack(smooth(20, 24, 3)), state_of(network)
    networks = Runtime(graph, [state], SCALE, 1)
    observed = networks.observe()
    seen = run(networks, windows)
    assert np.array_equal(seen, run(Runtime(graph, [state], SCALE, 1), windows)), (
        "pixels as if nobody looked"
    )
    expected = ranges_in_torch(network, windows)
    assert sorted(expected) == sorted(key for key, tensor in state.items() if tensor.ndim == 4)
    for found, (key, ends) in zip(
        observed.ranges(1, list(expected))[0], expected.items(), strict=True
    ):
        assert found == pytest.approx(ends, rel=1e-4, abs=1e-4), key
    eight = run(Runtime(graph, [state], SCALE, 1, "int8", ranges=[expected]), windows)
    by_hand = in_torch(rounded_in_torch(network, expected), windows)
    difference = np.abs(eight.astype(int) - by_hand)
    assert difference.max() <= 2 and (difference > 1).mean() < 0.05, (
        difference.max(),
        (difference > 1).mean(),
    )
    assert (eight != seen).any(), "that was not float32"


def test_ranges_of_several_networks_and_threads() -> None:
    both = [disturbed("espcn", SCALE, seed) for seed in range(2)]
    networks = Runtime(graph_of("espcn", SCALE), [state_of(each) for each in both], SCALE, 2)
    windows = np.stack(smooth(20, 24, 4))
    observed = networks.observe()
    out = np.empty((4, 40, 48, 3), np.uint8)
    with ThreadPoolExecutor(4) as pool:
        for future in [
            pool.submit(networks.run, 1, windows, out, members)
            for members in ([0], [1], [3], [0, 3])
        ]:
            future.result()
    expected = ranges_in_torch(both[1], windows[[0, 1, 3]])
    none, found = observed.ranges(2, list(expected))
    assert set(none) == {(0.0, 0.0)}, "it served no window"
    assert np.array(found) == pytest.approx(np.array(list(expected.values())), rel=1e-4, abs=1e-4)


def packed(tmp_path: Path, ranges: object = ..., **settings: object) -> Path:
    """A tiny package with the ranges that a player sees in it, or with others."""
    made = make(tmp_path, **settings)
    package = Package.open(made.path)
    if ranges is ...:
        player = Player(made.path, threads=2)
        observed = player.networks.observe()
        for _ in player:
            pass
        network = package.manifest.network
        ranges = observed.ranges(network.networks, network.convolutions)
    manifest = replace(package.manifest, network=replace(package.manifest.network, ranges=ranges))
    members = {name: package.read(name) for name in (GRAPH, WEIGHTS, CHUNKS)}
    with package.file(manifest.lr.member) as stream:
        members[manifest.lr.member] = stream.read()
    write_package(tmp_path / "ranges.stdo", manifest, members)
    return tmp_path / "ranges.stdo"


def test_a_package_plays_in_8_bits_from_anywhere_and_much_as_in_float32(tmp_path: Path) -> None:
    path = packed(tmp_path, halo=2, residual="bicubic")
    whole = [rgb_HWC for _, rgb_HWC in Player(path, threads=2, precision="int8")]
    exact = [rgb_HWC for _, rgb_HWC in Player(path, threads=1)]
    errors = [np.square(a.astype(float) - b).mean() for a, b in zip(whole, exact, strict=True)]
    assert 0 < max(errors) < 2, "46 dB"
    later = [
        rgb_HWC for _, rgb_HWC in Player(path, start=Fraction(3, 25), threads=1, precision="int8")
    ]
    assert all(np.array_equal(a, b) for a, b in zip(whole[3:], later, strict=True))


def shared() -> tuple[bytes, dict[str, np.ndarray]]:
    """Two convolutions with one weight behind one padding, added: no backbone's, but no harm
    either."""
    lr = helper.make_tensor_value_info("lr", TensorProto.FLOAT, ["n", 3, "h", "w"])
    weight = helper.make_tensor_value_info("w", TensorProto.FLOAT, [12, 3, 3, 3])
    sr = helper.make_tensor_value_info("sr", TensorProto.FLOAT, None)
    pads = helper.make_tensor(
        "pads", TensorProto.INT64, [8], np.array([0, 0, 1, 1] * 2).tobytes(), raw=True
    )
    nodes = [
        helper.make_node("Pad", ["lr", "pads"], ["padded"], mode="edge"),
        helper.make_node("Conv", ["padded", "w"], ["one"]),
        helper.make_node("Conv", ["padded", "w"], ["other"]),
        helper.make_node("Add", ["one", "other"], ["sum"]),
        helper.make_node("DepthToSpace", ["sum"], ["sr"], blocksize=2, mode="CRD"),
    ]
    graph = helper.make_graph(nodes, "g", [lr, weight], [sr], [pads])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    state = {"w": np.random.default_rng(0).normal(0, 0.05, (12, 3, 3, 3)).astype(np.float32)}
    return model.SerializeToString(), state


def test_convolutions_that_share_padding_and_weights_are_each_rounded_once() -> None:
    graph, state = shared()
    windows = np.stack(smooth(20, 24, 3))
    exact = run(Runtime(graph, [state], SCALE, 1), windows)
    for high in (1.0, 0.5):  # pixels keep their levels, whatever the package says
        eight = run(Runtime(graph, [state], SCALE, 1, "int8", ranges=[{"w": (0.0, high)}]), windows)
        assert np.abs(eight.astype(int) - exact).max() <= 2


@pytest.mark.parametrize("width", [0.0, 1e-30, 1e6])
def test_ranges_that_fit_nothing_are_played_nevertheless(width: float, tmp_path: Path) -> None:
    path = packed(tmp_path, ranges=(((-width, width),) * 4,) * 2)
    assert len(list(Player(path, precision="int8"))) == 6


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_command_plays_in_every_precision(precision: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    main([str(packed(tmp_path)), str(out), "--frames", "png", "--precision", precision])
    assert len(list(out.iterdir())) == 6


def test_a_package_without_ranges_says_so(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert Package.open(made.path).manifest.network.ranges is None
    with pytest.raises(
        UserError, match="precision=int8: the package does not tell the ranges it needs"
    ):
        Player(made.path, precision="int8")


@pytest.mark.parametrize("name", ["third.weight", "third\n\x1b[31m.weight"])
def test_a_convolution_without_a_range_is_refused_in_one_line(name: str) -> None:
    state = {
        key.replace("third.weight", name): value
        for key, value in state_of(disturbed("espcn", SCALE)).items()
    }
    model = onnx.load_from_string(graph_of("espcn", SCALE))
    for each in [*model.graph.input, *model.graph.node]:
        if each.name == "third.weight":
            each.name = name
        if "third.weight" in getattr(each, "input", ()):
            each.input[list(each.input).index("third.weight")] = name
    ranges = {"second.weight": (0.0, 1.0)}
    networks = Runtime(model.SerializeToString(), [state], SCALE, 1, "int8", ranges=[ranges])
    with pytest.raises(
        UserError, match=r"graph\.onnx: third.*: a convolution whose range"
    ) as caught:
        networks.prepare(0, (20, 24))
    assert str(caught.value).isprintable()


SUMS = """
from stdo.player.int8 import WEIGHT_LEVELS, _largest_sums, weight_levels
from stdo.player.runtime import core
levels = weight_levels(core(), "CPU", {})
print(levels, *(float(_largest_sums(core(), "CPU", {}, each).min()) for each in\
 (levels, WEIGHT_LEVELS)))
"""


@pytest.mark.parametrize("isa", ["DEFAULT", "AVX512_CORE"])
def test_processors_whose_sums_overflow_get_fewer_levels(isa: str) -> None:
    """oneDNN told to do without VNNI, where this processor has AVX-512."""
    done = subprocess.run(
        [sys.executable, "-c", SUMS],
        env={"ONEDNN_MAX_CPU_ISA": isa}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    levels, chosen, all_of_them = map(float, done.stdout.split())
    assert chosen == pytest.approx(144, rel=0.02)
    assert levels == (
        WEIGHT_LEVELS if all_of_them == pytest.approx(144, rel=0.01) else FEWER_LEVELS
    )
