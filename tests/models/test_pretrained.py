"""General weights from foreign files: found, converted, refused."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import oracles
import pytest
import safetensors.torch
import torch

from stdo.core.types import UserError
from stdo.models import pretrained
from stdo.models.pretrained import PretrainedUpscaler
from stdo.models.registry import BACKBONES, build
from stdo.models.sharing import Independent, Single
from stdo.models.weights import save_networks


def frame(h: int = 12, w: int = 10) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (h, w, 3), dtype=np.uint8)


def foreign(
    path: Path, name: str = "srcnn", scale: int = 2, init: str = "bicubic", wrap: str = ""
) -> str:
    """The weights of a fresh backbone under names that are not ours."""
    torch.manual_seed(0)
    network = pretrained.plain(build(name, scale, init=init))
    state = {
        f"net/{i}.{'Wb'[t.dim() == 1]}": t for i, t in enumerate(network.state_dict().values())
    }
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({wrap: state, "epoch": 3} if wrap else state, path)
    return str(path)


def bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    return (
        oracles.bicubic(lr.transpose(2, 0, 1)[None] / 255, scale)[0].transpose(1, 2, 0).clip(0, 1)
        * 255
    )


@pytest.mark.parametrize("colour", ["rgb", "ycbcr"])
@pytest.mark.parametrize("name", ["srcnn", "vdsr", "edsr", "wdsr"])
def test_weights_that_compute_bicubic_give_bicubic_in_either_colour(
    name: str, colour: str, tmp_path: Path
) -> None:
    upscale = PretrainedUpscaler(foreign(tmp_path / "w.pt", name), name, 2, colour)
    sr = upscale(frame())
    assert sr.dtype == np.uint8
    # Its ReLU cuts below 0, which in YCbCr is another colour
    smooth = colour == "ycbcr" and name == "srcnn"
    np.testing.assert_allclose(sr, bicubic(frame(), 2), atol=80 if smooth else 0.6)


def test_ycbcr_is_full_range_bt601(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the network is shown, against the JPEG standard's equations."""
    upscale = PretrainedUpscaler(foreign(tmp_path / "w.pt"), "srcnn", 2)
    seen = []
    upscale.network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    upscale(frame())
    r, g, b = (frame().astype(float) / 255).transpose(2, 0, 1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb, cr = 128 / 255 + 0.564334 * (b - y), 128 / 255 + 0.713267 * (r - y)
    np.testing.assert_allclose(seen[0][0].numpy(), np.stack([y, cb, cr]), atol=2e-6)


def test_auto_colour(tmp_path: Path) -> None:
    colours = {
        name: PretrainedUpscaler(foreign(tmp_path / f"{name}.pt", name), name, 2).colour
        for name in BACKBONES
    }
    assert colours == {name: kind.COLOUR for name, kind in BACKBONES.items()}
    assert [name for name, colour in colours.items() if colour == "ycbcr"][-2:] == ["srcnn", "vdsr"]


@pytest.mark.parametrize(
    ("file", "wrap"), [("w.pt", ""), ("w.pth", "state_dict"), ("w.safetensors", "")]
)
@pytest.mark.parametrize("name", BACKBONES)
def test_foreign_names_are_matched_by_shape_and_order(
    name: str, file: str, wrap: str, tmp_path: Path
) -> None:
    path = foreign(tmp_path / file, name, 3, init="paper", wrap=wrap)
    torch.manual_seed(0)
    network = pretrained.plain(build(name, 3, init="paper"))
    x = torch.from_numpy(frame()).permute(2, 0, 1)[None] / 255
    expected = network(x)[0].permute(1, 2, 0).mul(255).clamp(0, 255).numpy()
    np.testing.assert_allclose(
        PretrainedUpscaler(path, name, 3, "rgb")(frame()), expected, atol=0.51
    )


class Published(torch.nn.Module):
    """WDSR as the paper's authors publish it: layers in one list, PyTorch's older weight norm, the
    skip padded with zeros."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        conv, norm = torch.nn.Conv2d, torch.nn.utils.weight_norm
        outputs = 3 * scale**2
        self.body = torch.nn.Sequential(
            norm(conv(3, 32, 3, padding=1)),
            *[self.block(norm) for _ in range(16)],
            norm(conv(32, outputs, 3, padding=1)),
        )
        self.skip = torch.nn.Sequential(norm(conv(3, outputs, 5, padding=2)))
        self.shuffle = torch.nn.PixelShuffle(scale)

    @staticmethod
    def block(norm) -> torch.nn.Module:
        block = torch.nn.Module()
        block.body = torch.nn.Sequential(
            norm(torch.nn.Conv2d(32, 128, 3, padding=1)),
            torch.nn.ReLU(),
            norm(torch.nn.Conv2d(128, 32, 3, padding=1)),
        )
        block.forward = lambda x: x + block.body(x)
        return block

    def forward(self, x):
        x = x - 0.5
        return self.shuffle(self.body(x) + self.skip(x)) + 0.5


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("file", ["epoch_30_X2.pth", "w.safetensors"])
def test_the_authors_checkpoint_is_read(file: str, tmp_path: Path) -> None:
    """What their trainer saves: networks with weight norm, the state of Adam, a schedule."""
    torch.manual_seed(0)
    network, path = Published(2), tmp_path / file
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, 4e-8)
    x = torch.from_numpy(frame(30, 28)).permute(2, 0, 1)[None] / 255
    network(x).square().mean().backward()
    optimizer.step()
    schedule.step()
    if path.suffix == ".pth":
        states = {
            "model_state_dict": network.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "lr_scheduler_state_dict": schedule.state_dict(),
            "epoch": 30,
        }
        torch.save(states, path)
    else:
        safetensors.torch.save_file(network.state_dict(), path)
    with torch.no_grad():
        expected = network(x)[0].permute(1, 2, 0).mul(255).clamp(0, 255).numpy()
    sr = PretrainedUpscaler(str(path), "wdsr", 2)(frame(30, 28))
    inside = slice(4, -4), slice(4, -4)  # our skip repeats the edge
    np.testing.assert_allclose(sr[inside], expected[inside], atol=0.51)


def test_a_checkpoint_that_does_not_say_which_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    state = torch.load(foreign(path), weights_only=True)
    torch.save({"params": state, "params_ema": state}, path)
    with pytest.raises(
        UserError, match=r"must hold one state dict, holds 2 \(params, params_ema\)"
    ):
        PretrainedUpscaler(str(path), "srcnn", 2)
    torch.save({"epoch": 3, "note": {"a": 1}}, path)
    with pytest.raises(UserError, match="must hold one state dict, holds none"):
        PretrainedUpscaler(str(path), "srcnn", 2)
    torch.save({"a.weight_v": torch.ones(2, 3, 1, 1)}, path)
    with pytest.raises(UserError, match=r"a\.weight_v: its layer lacks one of weight_g, weight_v"):
        PretrainedUpscaler(str(path), "srcnn", 2)
    torch.save({"a.weight_g": torch.ones(3, 1, 1, 1), "a.weight_v": torch.ones(2, 3, 1, 1)}, path)
    with pytest.raises(UserError, match=r"weight_g and weight_v do not fit: \(3, 1, 1, 1\) and"):
        PretrainedUpscaler(str(path), "srcnn", 2)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """A weight-normalised filter of zeros has no direction."""
    path = tmp_path / "w.pt"
    state = torch.load(foreign(path), weights_only=True)
    normed = {}
    for name, tensor in state.items():
        layer = name.rpartition("/")[0]
        if tensor.dim() == 4:
            normed |= {
                f"{layer}.{name}.weight_g": torch.ones(len(tensor), 1, 1, 1),
                f"{layer}.{name}.weight_v": torch.zeros_like(tensor),
            }
        else:
            normed[name] = tensor
    torch.save(normed, path)
    with pytest.raises(UserError, match="layer 1 has filters that are not finite"):
        PretrainedUpscaler(str(path), "srcnn", 2)


def test_our_own_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_networks(path, Single(partial(build, "vdsr", 2), 4))
    upscale = PretrainedUpscaler(str(path), "vdsr", 2)
    assert upscale.colour == "rgb"
    np.testing.assert_allclose(upscale(frame()), bicubic(frame(), 2), atol=0.6)
    with pytest.raises(UserError, match="holds 1 x vdsr at scale 2; one vdsr at scale 3 is needed"):
        PretrainedUpscaler(str(path), "vdsr", 3)
    save_networks(path, Independent(partial(build, "espcn", 2), 4))
    with pytest.raises(
        UserError, match="holds 4 x espcn at scale 2; one espcn at scale 2 is needed"
    ):
        PretrainedUpscaler(str(path), "espcn", 2)


@pytest.mark.parametrize("name", BACKBONES)
def test_strips_do_not_show(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upscale = PretrainedUpscaler(foreign(tmp_path / "w.pt", name, 2, init="paper"), name, 2, "rgb")
    lr = frame(50, 6)
    whole = upscale(lr).astype(int)
    monkeypatch.setattr(pretrained, "STRIP_PIXELS", 7 * 6 * 4)
    assert np.abs(upscale(lr) - whole).max() <= 1
    assert (upscale(lr) == whole).mean() > 0.999


def test_bicubic_a_reaches_the_network(tmp_path: Path) -> None:
    path = foreign(tmp_path / "w.pt", "vdsr", 2)
    sharp = PretrainedUpscaler(path, "vdsr", 2, "rgb", bicubic_a=-0.75)(frame())
    x = torch.from_numpy(frame()).permute(2, 0, 1)[None].float()
    theirs = (
        torch.nn.functional.interpolate(x, scale_factor=2, mode="bicubic")[0]
        .permute(1, 2, 0)
        .clamp(0, 255)
    )
    np.testing.assert_allclose(sharp, theirs, atol=0.6)


def test_key_follows_content_and_settings(tmp_path: Path) -> None:
    one, two = foreign(tmp_path / "a.pt"), foreign(tmp_path / "b.pt", init="paper")
    (tmp_path / "c.pt").write_bytes((tmp_path / "a.pt").read_bytes())
    keys = [
        PretrainedUpscaler(path, "srcnn", scale, colour).key()
        for path, scale, colour in (
            (one, 2, "auto"),
            (two, 2, "auto"),
            (one, 3, "auto"),
            (one, 2, "rgb"),
        )
    ]
    assert len(set(keys)) == 4
    assert PretrainedUpscaler(str(tmp_path / "c.pt"), "srcnn", 2).key() == keys[0], (
        "the same content, another name"
    )


class Bomb:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "ran"
    torch.save({"w": Bomb(victim)}, tmp_path / "zip.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps({"w": Bomb(victim)}, protocol=2))
    for name in ("zip.pt", "raw.pt"):
        with pytest.raises(UserError, match="pickled code is never run") as caught:
            PretrainedUpscaler(str(tmp_path / name), "srcnn", 2)
        assert "\n" not in str(caught.value)
        assert not victim.exists()


def test_unusable_files(tmp_path: Path) -> None:
    def load(name: str, backbone: str = "srcnn", **more: str) -> None:
        PretrainedUpscaler(str(tmp_path / name), backbone, 2, **more)

    with pytest.raises(UserError, match="no such file"):
        load("missing.pt")
    foreign(tmp_path / "w.pt")
    with pytest.raises(UserError, match="has 3 filters; vdsr needs 20"):
        load("w.pt", "vdsr")
    foreign(tmp_path / "x4.pt", "espcn", 4)
    with pytest.raises(
        UserError,
        match=r"layer 4 has filters of shape \(48, 32, 3, 3\); espcn at scale 2 needs \(12,",
    ):
        load("x4.pt", "espcn")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "w.pt").read_bytes()[:5000])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("not weights")
    for name in ("cut.pt", "empty.pt", "text.safetensors"):
        with pytest.raises(UserError, match=r"damaged|refused") as caught:
            load(name)
        assert "\n" not in str(caught.value)
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    with pytest.raises(UserError, match="must hold a state dict, not a list"):
        load("list.pt")
    with pytest.raises(UserError, match="colour=lab: must be one of auto, rgb, ycbcr"):
        load("w.pt", colour="lab")
