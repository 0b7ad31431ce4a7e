"""Convolutions as sums, against PyTorch."""

import numpy as np
import pytest
import torch

from stdo.encoder.sums import sums_of, surroundings


@pytest.mark.parametrize(
    ("kernel", "scale", "padding", "surplus"),
    [(9, 2, 4, 1), (9, 3, 3, 0), (5, 4, 1, 1), (3, 1, 1, 0)],
)
def test_a_transposed_convolution_is_sums_of_what_lies_around_a_position(
    kernel: int, scale: int, padding: int, surplus: int
) -> None:
    conv = torch.nn.ConvTranspose2d(4, 3, kernel, scale, padding, surplus)
    x_NCHW = torch.randn(1, 4, 6, 5)
    sides, edges = surroundings(conv)
    around = torch.nn.functional.unfold(torch.nn.functional.pad(x_NCHW, edges), sides)[0].numpy()
    phases = []
    for taps, columns in sums_of(conv):
        phases.append(conv.weight.detach().numpy().ravel()[taps] @ around[columns])
    made = (
        np.stack(phases)
        .reshape(scale, scale, 3, 6, 5)
        .transpose(2, 3, 0, 4, 1)
        .reshape(3, 6 * scale, 5 * scale)
    )
    expected = conv(x_NCHW)[0].detach().numpy() - conv.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(made, expected, atol=1e-5)
