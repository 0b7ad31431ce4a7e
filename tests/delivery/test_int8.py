"""Convolutions in 8 bits against PyTorch's own rounding, and the ranges that they need."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from tiny_package import VARIANTS, disturbed, graph_of, make, smooth
from torch import nn

from stdo.delivery.client import Player
from stdo.delivery.int8 import FEWER_LEVELS, WEIGHT_LEVELS, weight_levels
from stdo.delivery.manifest import CHUNKS, GRAPH, WEIGHTS
from stdo.delivery.package import Package, write_package
from stdo.delivery.runtime import PRECISIONS, Networks
from stdo.models.pixels import to_float, to_uint8
from stdo.play import main
from stdo.types import UserError

SCALE = 2


def state_of(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    return {f"{name}.weight": each for name, each in network.named_modules() if isinstance(each, nn.Conv2d)}


def in_torch(network: nn.Module, windows: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return to_uint8(network(to_float(torch.from_numpy(windows)))).numpy()


def ranges_in_torch(network: nn.Module, windows: np.ndarray) -> dict[str, tuple[float, float]]:
    """Smallest and largest number that each convolution reads, seen by a hook."""
    found: dict[str, tuple[float, float]] = {}

    def seen(name: str):
        return lambda _, read: found.update({name: (float(read[0].min()), float(read[0].max()))})

    hooks = [each.register_forward_pre_hook(seen(name)) for name, each in convolutions(network).items()]
    in_torch(network, windows)
    for hook in hooks:
        hook.remove()
    return found


def rounded_in_torch(network: nn.Module, ranges: dict[str, tuple[float, float]]) -> nn.Module:
    """The network as 8 bits compute it, by PyTorch's own rounding; levels of pixels stay as they are."""
    picture: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda _, read: picture.append(read[0]))

    def reading(low: float, high: float):
        def rounded(_: nn.Module, read: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            least, most = (0.0, 1.0) if read[0] is picture[-1] else (min(low, 0.0), max(high, 0.0))
            step = (most - least) / 255
            return (torch.fake_quantize_per_tensor_affine(read[0], step, round(-least / step), 0, 255),)

        return rounded

    for name, each in convolutions(network).items():
        each.register_forward_pre_hook(reading(*ranges[name]))
        step = each.weight.detach().abs().amax((1, 2, 3)).clamp_min(1e-12) / 127
        zero = torch.zeros(len(step), dtype=torch.int32)
        each.weight.data = torch.fake_quantize_per_channel_affine(each.weight.data, step, zero, 0, -127, 127)
    return network


def run(networks: Networks, windows: np.ndarray) -> np.ndarray:
    count, height, width, _ = windows.shape
    out = np.empty((count, SCALE * height, SCALE * width, 3), np.uint8)
    networks.run(0, windows, out, range(count))
    return out


@pytest.mark.parametrize(("name", "residual"), VARIANTS)
def test_the_server_keeps_what_convolutions_read_and_pixels_are_pytorchs(name: str, residual: str) -> None:
    network, graph = disturbed(name, SCALE, residual=residual), graph_of(name, SCALE, residual)
    windows, state = np.stack(smooth(20, 24, 3)), state_of(network)
    networks = Networks(graph, [state], SCALE, 1)
    observed = networks.observe()
    seen = run(networks, windows)
    assert np.array_equal(seen, run(Networks(graph, [state], SCALE, 1), windows)), "pixels as if nobody looked"
    expected = ranges_in_torch(network, windows)
    assert sorted(expected) == sorted(key for key, tensor in state.items() if tensor.ndim == 4)
    for found, (key, ends) in zip(observed.ranges(1, list(expected))[0], expected.items(), strict=True):
        assert found == pytest.approx(ends, rel=1e-4, abs=1e-4), key
    eight = run(Networks(graph, [state], SCALE, 1, "int8", ranges=[expected]), windows)
    by_hand = in_torch(rounded_in_torch(network, expected), windows)
    difference = np.abs(eight.astype(int) - by_hand)
    assert difference.max() <= 2 and (difference > 1).mean() < 0.05, (difference.max(), (difference > 1).mean())
    assert (eight != seen).any(), "that was not float32"


def test_ranges_of_several_networks_and_threads() -> None:
    both = [disturbed("espcn", SCALE, seed) for seed in range(2)]
    networks = Networks(graph_of("espcn", SCALE), [state_of(each) for each in both], SCALE, 2)
    windows = np.stack(smooth(20, 24, 4))
    observed = networks.observe()
    out = np.empty((4, 40, 48, 3), np.uint8)
    networks.run(1, windows, out, [0, 1])
    networks.run(1, windows, out, [3])
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
    later = [rgb_HWC for _, rgb_HWC in Player(path, start=Fraction(3, 25), threads=1, precision="int8")]
    assert all(np.array_equal(a, b) for a, b in zip(whole[3:], later, strict=True))


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
    with pytest.raises(UserError, match="precision=int8: the package does not tell the ranges it needs"):
        Player(made.path, precision="int8")


def test_a_convolution_without_a_range_is_refused() -> None:
    state = state_of(disturbed("espcn", SCALE))
    networks = Networks(graph_of("espcn", SCALE), [state], SCALE, 1, "int8", ranges=[{"second.weight": (0.0, 1.0)}])
    with pytest.raises(UserError, match=r"graph\.onnx: third\.weight: a convolution whose range"):
        networks.prepare(0, (20, 24))


def test_processors_whose_sums_overflow_get_smaller_weights(tmp_path: Path) -> None:
    """oneDNN told to do without VNNI, where this processor has AVX-512: elsewhere this is one run more."""
    assert weight_levels(ov.Core(), "CPU") in (WEIGHT_LEVELS, FEWER_LEVELS)
    path = packed(tmp_path, residual="bicubic")
    code = """
import sys
import numpy as np
from stdo.delivery.client import Player
frames = [[rgb.astype(float) for _, rgb in Player(sys.argv[1], precision=each)] for each in ("float32", "int8")]
print(max(np.square(a - b).mean() for a, b in zip(*frames)))
"""
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(
        command, env={"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, capture_output=True, text=True, timeout=120, check=True
    )
    assert float(done.stdout) < 4
