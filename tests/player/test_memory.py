"""How the player's memory is shared out."""

import pytest

from stdo.package.limits import MAX_PIXELS
from stdo.player.memory import (
    VIEWER,
    encoder_options,
    frames_held,
    limit,
    of_decoder,
    of_encoder,
    of_networks,
)

SIZES = [(16, 16), (640, 360), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160), (4096, 2160),
         (4720, 4720), (16384, 2048), (5792, 5792), (7680, 4320)]  # fmt: skip
MIB = 1 << 20


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_shares_are_no_more_than_the_whole_and_something_is_left_for_networks(
    size: tuple[int, int], scale: int
) -> None:
    pixels = size[0] * size[1]
    assert pixels <= MAX_PIXELS
    for threads in range(1, 65):
        shared = 3 * pixels * frames_held(pixels, threads)
        assert of_encoder(pixels) + of_decoder(pixels, threads) + shared <= limit(pixels, threads)
        assert 0 < of_networks(pixels, pixels // scale**2, threads) < of_decoder(pixels, threads)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_what_plays_on_four_threads_plays_on_any_number(size: tuple[int, int], scale: int) -> None:
    """A window is refused where it needs more than four threads leave: no other number may leave
    less."""
    pixels = size[0] * size[1]
    lr_pixels = -(-size[0] // scale) * -(-size[1] // scale)
    least = of_networks(pixels, lr_pixels, VIEWER)
    assert least >= 140 * MIB
    assert all(of_networks(pixels, lr_pixels, threads) >= least for threads in range(1, 65))


def test_larger_frames_are_encoded_with_less_looking_ahead() -> None:
    assert "x264-params" not in encoder_options(1920 * 1080, 4)
    assert "rc-lookahead=0" in encoder_options(3840 * 2160, 4)["x264-params"]
    assert of_encoder(3840 * 2160) < 4 * of_encoder(1920 * 1080)
