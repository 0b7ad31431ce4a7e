"""The losses against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from stdo.models.backbones.espcn import ESPCN
from stdo.training.loss import LOSSES, loss_of

THEIRS = {"l1": F.l1_loss, "l2": F.mse_loss}


def pictures(dtype: torch.dtype, border: int) -> tuple[torch.Tensor, torch.Tensor]:
    """SR as a channels-last network makes it, some samples equal to HR, and HR."""
    generator = torch.Generator().manual_seed(1)
    hr_NHWC = torch.randint(0, 256, (3, 33, 20, 3), generator=generator, dtype=torch.uint8)
    sr_NHWC = hr_NHWC / 255 + torch.randn(hr_NHWC.shape, generator=generator) / 20
    sr_NHWC[:, ::4] = hr_NHWC[:, ::4] / 255
    sr_NCHW = F.pad(sr_NHWC.permute(0, 3, 1, 2), [border] * 4, value=0.5)
    return sr_NCHW.to(dtype, memory_format=torch.channels_last), hr_NHWC


def cut(sr_NCHW: torch.Tensor, border: int) -> torch.Tensor:
    """What lies within the border, float32 (N, H, W, 3)."""
    return F.pad(sr_NCHW, [-border] * 4).float().permute(0, 2, 3, 1)


@pytest.mark.parametrize("border", [0, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("learners", [1, 3])
@pytest.mark.parametrize("kind", sorted(LOSSES))
def test_value_and_gradient_are_torchs(
    kind: str, learners: int, dtype: torch.dtype, border: int
) -> None:
    sr_NCHW, hr_NHWC = pictures(dtype, border)
    ours, theirs = (sr_NCHW.clone().requires_grad_() for _ in range(2))
    loss, _ = loss_of(kind, ours, hr_NHWC, border)
    (loss * learners).backward()
    reference = THEIRS[kind](cut(theirs, border), hr_NHWC.float() / 255)
    (reference * learners).backward()
    torch.testing.assert_close(loss, reference, rtol=1e-6, atol=0)  # another order of summing
    assert torch.equal(ours.grad, theirs.grad)
    assert ours.grad.dtype == dtype
    assert ours.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", sorted(LOSSES))
def test_gradients_reach_the_weights_as_by_torch(kind: str) -> None:
    network = ESPCN(2)
    lr = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(2)).to(
        memory_format=torch.channels_last
    )
    hr_NHWC = torch.randint(
        0, 256, (2, 14, 12, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
    )

    def gradients(loss) -> list[torch.Tensor]:
        network.zero_grad()
        loss(network(lr)).backward()
        return [parameter.grad.clone() for parameter in network.parameters()]

    ours = gradients(lambda sr_NCHW: loss_of(kind, sr_NCHW, hr_NHWC, 2)[0])
    theirs = gradients(lambda sr_NCHW: THEIRS[kind](cut(sr_NCHW, 2), hr_NHWC / 255))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_the_differences_are_what_is_left_of_both_pictures() -> None:
    sr_NCHW, hr_NHWC = pictures(torch.float32, 3)
    expected = cut(sr_NCHW, 3).numpy().astype("float64") - hr_NHWC.numpy() / 255
    _, difference_NHWC = loss_of("l1", sr_NCHW.requires_grad_(), hr_NHWC, 3)
    assert not difference_NHWC.requires_grad
    assert abs(difference_NHWC.numpy() - expected).max() < 1e-7
    assert (difference_NHWC[:, ::4] == 0).all()
