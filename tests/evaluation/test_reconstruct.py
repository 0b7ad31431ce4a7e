"""The stitcher: each patch with its own network, seams where they must be and gone where they must
go."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from stdo.chunks.grid import PatchGrid
from stdo.evaluation.reconstruct import BATCH, Reconstructor
from stdo.models.cost import count
from stdo.models.registry import BACKBONES, build
from stdo.models.sharing import Independent
from stdo.video.clip import Clip, PatchSize
from stdo.video.degrade import Degrade
from stdo.video.sample import GeneratedClip

CPU = torch.device("cpu")
VARIANTS = [(name, residual) for name, kind in BACKBONES.items() for residual in kind.RESIDUALS]

DEEP = ("edsr", "vdsr", "wdsr")
"""They see so far around a patch that it takes long."""


def frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def disturbed(name: str, scale: int, seed: int = 0, residual: str | None = None) -> torch.nn.Module:
    """A network that is not merely bicubic."""
    torch.manual_seed(seed)
    network = build(name, scale, residual=residual).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return network


@torch.inference_mode()
def whole(network: torch.nn.Module, lr_HWC: np.ndarray) -> np.ndarray:
    """The network on the edge-padded frame as one picture, rounded by numpy."""
    sr = (
        network(torch.from_numpy(lr_HWC).permute(2, 0, 1)[None] / 255)[0]
        .permute(1, 2, 0)
        .double()
        .numpy()
    )
    return np.clip(np.round(sr * 255), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("name", "residual"), VARIANTS)
def test_with_a_halo_as_wide_as_the_network_sees_seams_vanish(name: str, residual: str) -> None:
    network = disturbed(name, 2, residual=residual)
    halo = min(network.receptive_radius, 24)
    lr = frame(26, 30)
    grid = PatchGrid(26, 30, 10, 12, halo, 2)
    labels = np.zeros((grid.rows, grid.cols), np.int16)
    patches = Reconstructor([network], [0], grid, CPU).patches(lr, labels)
    stitched = grid.assemble(patches)
    padded = np.pad(lr, ((halo, halo), (halo, halo), (0, 0)), mode="edge")
    expected = whole(network, padded)[2 * halo : -2 * halo, 2 * halo : -2 * halo]
    difference = np.abs(stitched.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize(
    ("name", "residual"),
    [pytest.param(*each, marks=[pytest.mark.slow] if each[0] in DEEP else []) for each in VARIANTS],
)
def test_whole_frames_are_what_the_network_makes_of_them_in_tiles_too(
    name: str, residual: str
) -> None:
    """With the edge repeated; away from it, whatever the network makes of the edge itself."""
    network = disturbed(name, 2, residual=residual)
    radius = network.receptive_radius
    lr = frame(2 * radius + 20, 2 * radius + 26)
    clip = Clip(
        GeneratedClip(width=2 * lr.shape[1], height=2 * lr.shape[0], frames=1, rate=25),
        Degrade(2), PatchSize(10, 12, whole=True),
    )  # fmt: skip
    labels = np.zeros((clip.grid.rows, clip.grid.cols), np.int16)
    made = Reconstructor.of([network], [0], clip, CPU)
    assert made.grid.halo == radius
    assert made.tiles is not None and made.tiles.patches < made.grid.patches
    smaller = replace(made, tiles=made.grid.tiles((16 + 2 * radius) ** 2))
    assert smaller.tiles is not None and smaller.tiles.patches > 1
    padded = np.pad(lr, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    border = 2 * radius
    expected = whole(network, padded)[border:-border, border:-border].astype(int)
    as_it_is = whole(network, lr)[border:-border, border:-border]
    for each in (made, smaller):
        ((stitched, patches),) = each.frames(lr[None], labels[None])
        assert np.abs(stitched - expected).max() <= 1
        assert (stitched != expected).mean() < 0.01
        assert np.array_equal(patches, clip.grid.hr.extract(stitched))
        assert np.abs(stitched[border:-border, border:-border] - as_it_is.astype(int)).max() <= 1


def test_frames_of_several_networks_are_those_of_each_where_it_serves() -> None:
    networks = [disturbed("espcn", 2, seed) for seed in range(2)]
    lr, grid = frame(30, 40), PatchGrid(30, 40, 5, 5, 4, 2)
    labels = np.random.default_rng(1).integers(0, 2, (2, grid.rows, grid.cols)).astype(np.int16)
    labels[1] = 1  # this frame is computed whole
    made = Reconstructor(networks, [0, 1], grid, CPU, grid.tiles(10**6))
    padded = np.pad(lr, ((4, 4), (4, 4), (0, 0)), mode="edge")
    pictures = [whole(network, padded)[8:-8, 8:-8] for network in networks]
    for t, (_, patches) in enumerate(made.frames(np.stack([lr, lr]), labels)):
        for patch, (top, left) in enumerate(2 * grid.origins):
            expected = pictures[labels[t].ravel()[patch]][top : top + 10, left : left + 10]
            assert np.abs(patches[patch].astype(int) - expected).max() <= 1


def test_arithmetic_is_counted_as_it_is_done() -> None:
    network, grid = build("espcn", 2).eval(), PatchGrid(30, 40, 5, 5, 4, 2)
    labels = np.zeros((2, grid.rows, grid.cols), np.int16)
    labels[1, 0, 0] = 1
    tiles = grid.tiles(10**6)
    by_patch, whole_frame = count(network, 2, 13, 13).macs * 48, count(network, 2, 38, 48).macs
    made = Reconstructor([network], [0, 0], grid, CPU)
    assert made.macs_per_frame(labels) == by_patch
    assert replace(made, tiles=tiles).macs_per_frame(labels) == whole_frame
    two = Reconstructor([network, network], [0, 1], grid, CPU, tiles)
    assert two.macs_per_frame(labels) == round((whole_frame + by_patch) / 2)


def test_without_a_halo_each_patch_is_its_own_picture() -> None:
    network, lr, grid = disturbed("espcn", 2), frame(25, 29), PatchGrid(25, 29, 10, 12, scale=2)
    patches = Reconstructor([network], [0], grid, CPU).patches(lr, np.zeros((3, 3), np.int16))
    for patch, (top, left) in enumerate(grid.origins):
        expected = whole(network, lr[top : top + 10, left : left + 12])
        assert np.abs(patches[patch].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("halo", [0, 2])
def test_chunks_without_a_network_are_bicubic_as_the_whole_frame_is(halo: int) -> None:
    lr, grid = frame(25, 29), PatchGrid(25, 29, 10, 12, halo, 2)
    labels = np.array([[0, 1, 1], [1, 0, 1], [0, 1, 0]], np.int16)
    network = disturbed("espcn", 2)
    mixed = Reconstructor([network], [0, -1], grid, CPU).patches(lr, labels)
    alone = Reconstructor([network], [0, 0], grid, CPU).patches(lr, labels)
    # antialias: a = -0.5, and at the frame's edge the kernel is cut off
    up = torch.nn.functional.interpolate(
        torch.from_numpy(lr).permute(2, 0, 1)[None].double(),
        scale_factor=2,
        mode="bicubic",
        antialias=True,
    )
    expected = up[0].permute(1, 2, 0).numpy().round().clip(0, 255)
    for patch, (top, left) in enumerate(grid.origins * 2):
        if labels.ravel()[patch]:
            assert np.abs(mixed[patch] - expected[top : top + 20, left : left + 24]).max() <= 1
        else:
            assert np.array_equal(mixed[patch], alone[patch])


def test_each_patch_goes_through_its_chunks_network() -> None:
    networks = [disturbed("espcn", 3, seed) for seed in range(2)]
    lr, grid = frame(30, 40), PatchGrid(30, 40, 5, 5, scale=3)
    assert grid.patches > BATCH, "more than one batch per network"
    labels = np.random.default_rng(1).integers(0, 3, (grid.rows, grid.cols)).astype(np.int16)
    network_of = [1, 0, 1]
    patches = Reconstructor(networks, network_of, grid, CPU).patches(lr, labels)
    for patch, (top, left) in enumerate(grid.origins):
        network = networks[network_of[labels.ravel()[patch]]]
        expected = whole(network, lr[top : top + 5, left : left + 5])
        assert np.abs(patches[patch].astype(int) - expected).max() <= 1


def test_the_plain_networks_reproduce_the_sharing() -> None:
    sharing = Independent(partial(build, "wdsr", 2), 3, seed=0)
    lr, grid = frame(20, 24), PatchGrid(20, 24, 10, 12, scale=2)
    labels = np.array([[0, 1], [2, 0]], np.int16)
    patches = Reconstructor(sharing.distinct(), [0, 1, 2], grid, CPU).patches(lr, labels)
    windows = torch.from_numpy(grid.extract(lr)).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        sr = sharing(windows, torch.from_numpy(labels.ravel().astype(np.int64)))
    expected = np.clip(np.round(sr.permute(0, 2, 3, 1).numpy() * 255), 0, 255)
    assert np.abs(patches - expected).max() <= 1
