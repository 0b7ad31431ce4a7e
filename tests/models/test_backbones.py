"""Every backbone in the registry, at every scale and with both inits."""

import numpy as np
import oracles
import pytest
import torch

from stdo.core.types import SCALES, UserError
from stdo.models.common import Bicubic, Convolution, plain
from stdo.models.registry import BACKBONES, build, name_of

VARIANTS = [(name, residual) for name, kind in BACKBONES.items() for residual in kind.RESIDUALS]
EVERY = [(name, residual, scale) for name, residual in VARIANTS for scale in SCALES]


@pytest.fixture(autouse=True)
def _fixed() -> None:
    torch.manual_seed(0)


def picture(n: int = 2, h: int = 11, w: int = 9) -> torch.Tensor:
    return torch.rand(n, 3, h, w)


@pytest.mark.parametrize(("name", "residual", "scale"), EVERY)
def test_starts_at_bicubic(name: str, residual: str, scale: int) -> None:
    lr = picture()
    expected = oracles.bicubic(lr.numpy(), scale)
    sr = build(name, scale, residual=residual)(lr).detach().numpy()
    assert sr.shape == (2, 3, 11 * scale, 9 * scale)
    # The channels that bicubic does not need are faint, not silent
    if (name, residual) == ("espcn", "none"):
        assert oracles.psnr(sr, expected) > 40
    else:
        cut = (name, residual) == ("srcnn", "none")  # its ReLU cuts what is blacker than black
        expected = expected.clip(min=0) if cut else expected
        np.testing.assert_allclose(sr, expected, atol=2e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_module_is_the_oracle_in_float32_even_under_autocast(scale: int) -> None:
    lr = picture()
    with torch.autocast("cpu", torch.bfloat16):
        sr = Bicubic(scale)(lr)
    assert sr.dtype == torch.float32
    np.testing.assert_allclose(sr.numpy(), oracles.bicubic(lr.numpy(), scale), atol=2e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_interior_is_torchs_antialiased_interpolation(scale: int) -> None:
    lr = picture()
    theirs = torch.nn.functional.interpolate(lr, scale_factor=scale, mode="bicubic", antialias=True)
    edge = 2 * scale
    inside = (..., slice(edge, -edge), slice(edge, -edge))
    torch.testing.assert_close(Bicubic(scale)(lr)[inside], theirs[inside], atol=1e-5, rtol=0)


@pytest.mark.parametrize("init", ["bicubic", "paper"])
@pytest.mark.parametrize(("name", "residual", "scale"), EVERY)
def test_two_steps_move_every_parameter(name: str, residual: str, scale: int, init: str) -> None:
    net = build(name, scale, init=init, residual=residual)
    before = {key: p.detach().clone() for key, p in net.named_parameters()}
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    lr, hr = picture(2, 8, 8), torch.rand(2, 3, 8 * scale, 8 * scale)
    original = lr.clone()
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.l1_loss(net(lr), hr).backward()
        optimizer.step()
    assert torch.equal(lr, original), "the input was changed"
    for key, p in net.named_parameters():
        assert p.grad is not None, key
        assert p.grad.any(), f"{key} has no gradient at the second step"
        assert not torch.equal(p, before[key]), f"{key} did not move"


@pytest.mark.parametrize("init", ["bicubic", "paper"])
@pytest.mark.parametrize(("name", "residual"), VARIANTS)
def test_no_filter_stays_dead(name: str, residual: str, init: str) -> None:
    """After a few steps most single weights have moved: only filters that ReLU silences on this
    data may stay."""
    net = build(name, 2, init=init, residual=residual)
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(4):
        optimizer.zero_grad()
        torch.nn.functional.l1_loss(net(picture(2, 8, 8)), torch.rand(2, 3, 16, 16)).backward()
        optimizer.step()
    still = sum(int((p == q).sum()) for p, q in zip(net.parameters(), before, strict=True))
    assert still / sum(p.numel() for p in before) < 0.2


@pytest.mark.parametrize(("name", "residual"), VARIANTS)
def test_learns_to_beat_bicubic(name: str, residual: str) -> None:
    """Ten steps from the bicubic start on one sharp target lower the loss."""
    net = build(name, 2, residual=residual)
    lr = picture(1, 8, 8)
    hr = (lr.repeat_interleave(2, 2).repeat_interleave(2, 3)).clone()
    optimizer = torch.optim.Adam(
        net.parameters(), lr=3e-5 if (name, residual) == ("srcnn", "none") else 3e-4
    )
    losses = []
    for _ in range(10):
        loss = torch.nn.functional.l1_loss(net(lr), hr)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.99 * losses[0], losses


@pytest.mark.parametrize(("name", "residual", "scale"), EVERY)
def test_reach_is_how_far_an_input_pixel_matters(name: str, residual: str, scale: int) -> None:
    net = plain(build(name, scale, init="paper", residual=residual)).double()
    reach = net.receptive_radius
    lr = torch.rand(1, 3, 1, reach + 4, dtype=torch.float64)
    changed = lr.clone()
    changed[..., 0] = 1 - changed[..., 0]
    moved = (net(lr) - net(changed)).abs().amax((0, 1, 2))
    assert not moved[(reach + 1) * scale :].any()


@pytest.mark.parametrize(("name", "residual"), VARIANTS)
def test_plain_is_a_detached_copy_with_the_same_result(name: str, residual: str) -> None:
    net = build(name, 3, residual=residual)
    lr = picture()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.01 * torch.randn_like(p))
    copy = plain(net)
    assert not any("parametrizations" in key for key in copy.state_dict())
    assert not any(p.requires_grad for p in copy.parameters())
    torch.testing.assert_close(copy(lr), net(lr).detach(), atol=1e-6, rtol=0)
    expected = copy(lr)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(2)
    assert not torch.equal(net(lr), expected), "the original is still alive"
    assert torch.equal(copy(lr), expected), "the copy shares memory with the original"


@pytest.mark.parametrize(("name", "residual"), VARIANTS)
def test_bicubic_survives_bfloat16(name: str, residual: str) -> None:
    lr = picture()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        sr = build(name, 2, residual=residual)(lr).float().numpy()
    assert oracles.psnr(sr, oracles.bicubic(lr.numpy(), 2)) > (120 if residual == "bicubic" else 40)


@pytest.mark.parametrize(("name", "residual"), VARIANTS)
def test_the_same_weights_predict_the_picture_or_what_bicubic_lacks(
    name: str, residual: str
) -> None:
    """The residual is the only difference of two networks of the same weights, but for grey."""
    net = plain(build(name, 2, init="paper", residual=residual))
    lr = picture()
    bicubic = torch.from_numpy(oracles.bicubic(lr.numpy(), 2)).float()
    predicted = net.predict(bicubic if net.ENLARGED else lr)
    if net.SHUFFLED:
        assert predicted.shape[1:] == (12, 11, 9)
        predicted = torch.nn.functional.pixel_shuffle(predicted, 2)
    ground = bicubic if residual == "bicubic" else net.MEAN
    torch.testing.assert_close(net(lr), predicted + ground, atol=1e-5, rtol=0)


def test_same_seed_same_weights_and_two_inits_differ() -> None:
    def drawn(init: str) -> torch.Tensor:
        torch.manual_seed(3)
        return torch.cat([p.flatten() for p in build("espcn", 2, init=init).parameters()])

    assert torch.equal(drawn("bicubic"), drawn("bicubic"))
    assert not torch.equal(drawn("bicubic"), drawn("paper"))


def test_paper_init_is_the_published_one() -> None:
    espcn = build("espcn", 2, init="paper")
    w = espcn.second.weight.flatten(1)
    torch.testing.assert_close(w @ w.T, 2 * torch.eye(64), atol=1e-4, rtol=0)
    wdsr = build("wdsr", 2, init="paper")
    norms = [
        conv.weight.flatten(1).norm(dim=1)
        for conv in (wdsr.head, *wdsr.body[0].body[::2], wdsr.tail, wdsr.skip)
    ]
    for norm, gain in zip(norms, (1.0, 2.0, 0.25, 1.0, 1.0), strict=True):
        torch.testing.assert_close(norm, torch.full_like(norm, gain))


@pytest.mark.parametrize("name", BACKBONES)
def test_wrong_settings_are_the_users_mistake(name: str) -> None:
    with pytest.raises(UserError, match=r"^scale=5: must be one of 2, 3, 4$"):
        build(name, 5)
    with pytest.raises(UserError, match=r"^init=he: must be one of bicubic, paper$"):
        build(name, 2, init="he")
    with pytest.raises(
        UserError, match=rf"^backbone.residual=all: must be (none or )?bicubic with {name}$"
    ):
        build(name, 2, residual="all")


def test_unknown_backbone_lists_the_known() -> None:
    with pytest.raises(UserError, match=rf"^backbone=unet: must be one of {', '.join(BACKBONES)}$"):
        build("unet", 2)


@pytest.mark.parametrize("name", BACKBONES)
def test_name_of(name: str) -> None:
    assert name_of(build(name, 2)) == name


@pytest.mark.parametrize("name", BACKBONES)
def test_leaking_activations_are_the_only_difference(name: str) -> None:
    """A network all of whose activations see positive numbers does not know whether they leak."""
    lr = picture()
    networks = [
        plain(build(name, 2, init="paper", negative_slope=negative_slope))
        for negative_slope in (0.0, 0.3)
    ]
    filters = [[m for m in network.modules() if isinstance(m, Convolution)] for network in networks]
    for ours, theirs in zip(*filters, strict=True):  # slopes may be learned: they stay
        theirs.load_state_dict(ours.state_dict())
    assert not torch.allclose(networks[0](lr), networks[1](lr), atol=1e-4)
    with torch.no_grad():
        for network in networks:
            for p in network.parameters():
                p.abs_()
    high = lr + 1
    torch.testing.assert_close(networks[0](high), networks[1](high))
    assert [network.settings["negative_slope"] for network in networks] == [0.0, 0.3]
    for negative_slope in (-0.1, 1, float("nan")):
        with pytest.raises(
            UserError, match=r"^backbone.negative_slope=.*: must be 0 or more, and less than 1$"
        ):
            build(name, 2, negative_slope=negative_slope)


@pytest.mark.parametrize(("depth", "channels"), [(1, 4), (4, 8), (4, 16), (10, 32)])
@pytest.mark.parametrize("scale", SCALES)
def test_ecbsr_comes_in_every_size(depth: int, channels: int, scale: int) -> None:
    network = build("ecbsr", scale, depth=depth, channels=channels)
    inner = depth * (9 * channels * channels + channels)
    assert (
        sum(p.numel() for p in network.parameters())
        == 28 * channels + inner + (9 * channels + 1) * 3 * scale**2
    )
    assert network.receptive_radius == depth + 2
    assert network.settings == {"negative_slope": 0.1, "depth": depth, "channels": channels}
    assert network.label == f"ecbsr-m{depth}c{channels}"


@pytest.mark.parametrize(
    "wrong", [{"depth": 0}, {"depth": 17}, {"depth": 2.0}, {"channels": 7}, {"channels": 66}]
)
def test_ecbsr_refuses_other_sizes(wrong: dict[str, float]) -> None:
    (key, value), text = (
        *wrong.items(),
        r"must be one of the (even numbers 4 to 64|numbers 1 to 16)",
    )
    with pytest.raises(UserError, match=rf"^backbone.{key}={value}: {text}$"):
        build("ecbsr", 2, **wrong)
