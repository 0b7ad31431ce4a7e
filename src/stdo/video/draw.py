"""Procedural pictures, in numpy alone: textures, shapes and letters for the generated clip."""

from dataclasses import dataclass

import numpy as np

from stdo.core.types import F32, U8

_LETTERS = """
A 01110 10001 10001 11111 10001 10001 10001
C 01110 10001 10000 10000 10000 10001 01110
D 11110 10001 10001 10001 10001 10001 11110
E 11111 10000 10000 11110 10000 10000 11111
F 11111 10000 10000 11110 10000 10000 10000
H 10001 10001 10001 11111 10001 10001 10001
I 01110 00100 00100 00100 00100 00100 01110
K 10001 10010 10100 11000 10100 10010 10001
M 10001 11011 10101 10101 10001 10001 10001
N 10001 11001 11001 10101 10011 10011 10001
O 01110 10001 10001 10001 10001 10001 01110
P 11110 10001 10001 11110 10000 10000 10000
R 11110 10001 10001 11110 10100 10010 10001
S 01111 10000 10000 01110 00001 00001 11110
T 11111 00100 00100 00100 00100 00100 00100
U 10001 10001 10001 10001 10001 10001 01110
V 10001 10001 10001 10001 01010 01010 00100
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def blend(picture_HWC: U8, box: Box, colour_HWC: F32, alpha_HW: F32) -> None:
    """Lay a colour over a box of a picture, in place; what falls outside the picture is left out.

    Args:
        colour_HWC: Levels 0 to 255, of the box's size or one that broadcasts to it.
        alpha_HW: 0 to 1, of its size.
    """
    top, left = max(box.top, 0), max(box.left, 0)
    bottom, right = (
        min(box.top + box.height, len(picture_HWC)),
        min(box.left + box.width, picture_HWC.shape[1]),
    )
    if bottom <= top or right <= left:
        return
    inner = (slice(top - box.top, bottom - box.top), slice(left - box.left, right - box.left))
    colour = np.broadcast_to(colour_HWC, (box.height, box.width, 3))[inner]
    alpha = alpha_HW[inner][..., None]
    under = picture_HWC[top:bottom, left:right]
    picture_HWC[top:bottom, left:right] = np.clip(
        under + (colour - under) * alpha + 0.5, 0, 255
    ).astype(np.uint8)


def disc(size: int) -> F32:
    """Coverage of a disc that fills a square of ``size`` pixels, with a soft rim: (size, size), 0
    to 1."""
    y, x = np.ogrid[:size, :size]
    distance_HW = np.hypot(y + 0.5 - size / 2, x + 0.5 - size / 2)
    coverage_HW: F32 = np.clip(size / 2 - distance_HW, 0, 1).astype(np.float32)
    return coverage_HW


def fractal(rng: np.random.Generator, height: int, width: int, slope: float) -> F32:
    """Random texture whose amplitude falls as 1 / frequency ** slope, as in natural pictures: (H,
    W), 0 to 1."""
    noise = np.fft.rfft2(rng.standard_normal((height, width)))
    frequency = np.hypot(
        np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * height
    )
    frequency[0, 0] = np.inf
    texture_HW = np.fft.irfft2(noise / frequency**slope, (height, width))
    low, high = np.percentile(texture_HW, (1, 99))
    levels_HW: F32 = np.clip((texture_HW - low) / max(high - low, 1e-9), 0, 1).astype(np.float32)
    return levels_HW


def leaves(rng: np.random.Generator, width: int, height: int) -> U8:
    """A "dead leaves" picture: textured discs of all sizes that hide one another, as in natural
    scenes."""
    picture_HWC = _tinted(
        fractal(rng, height, width, 1.2), np.array([70, 90, 80]), np.array([190, 200, 170])
    )
    cloth_HW = fractal(rng, height, width, 0.9)
    for radius in sorted(_leaf_radii(rng, 420, height), reverse=True):
        size = 2 * radius
        top, left = rng.integers(-radius, height - radius), rng.integers(-radius, width - radius)
        colour = rng.uniform(30, 225, 3).astype(np.float32)
        rows, cols = np.arange(top, top + size) % height, np.arange(left, left + size) % width
        texture_HWC = colour * (0.7 + 0.6 * cloth_HW[rows[:, None], cols][..., None])
        blend(picture_HWC, Box(int(top), int(left), size, size), texture_HWC, disc(size))
    return picture_HWC


def skyline(rng: np.random.Generator, width: int, height: int) -> U8:
    """Clouds, three rows of houses with windows, and a street."""
    picture_HWC = _tinted(
        fractal(rng, height, width, 1.7), np.array([90, 130, 190]), np.array([225, 230, 240])
    )
    wall_HW = fractal(rng, height, width, 0.8)
    for row in range(3):
        shade = 0.55 + 0.2 * row
        left = -int(rng.integers(0, height // 8 + 1))
        while left < width:
            w = int(rng.integers(height // 9 + 2, height // 4 + 4))
            h = int(height * rng.uniform(0.3, 0.62 - 0.12 * row))
            colour = shade * rng.uniform(90, 215) * rng.uniform(0.8, 1.1, 3).astype(np.float32)
            _house(picture_HWC, Box(height - h, left, h, w), colour, wall_HW, rng)
            left += w + int(rng.integers(0, height // 20 + 1))
    return picture_HWC


def lettering(text: str, scale: int) -> F32:
    """Letters of 5x7 dots, each dot ``scale`` pixels wide: (7·scale, 6·scale·len(text)), 0 to 1."""
    shapes = {line[0]: line[2:].split() for line in _LETTERS.split("\n") if line}
    blank = ["00000"] * 7
    letters = [shapes.get(letter, blank) for letter in text]
    rows = ["0".join(dots) + "0" for dots in zip(*letters, strict=True)] if letters else ["0"] * 7
    dots_HW = np.array([list(row) for row in rows], np.float32)
    return np.kron(dots_HW, np.ones((scale, scale), np.float32))


def _leaf_radii(rng: np.random.Generator, count: int, height: int) -> list[int]:
    """Radii whose density falls as 1 / r ** 3, the law that makes the picture look alike at all
    scales."""
    smallest, largest = max(2.0, height / 110), max(3.0, height / 4)
    u = rng.random(count)
    inverse = smallest**-2 - u * (smallest**-2 - largest**-2)
    return [int(radius) for radius in inverse**-0.5]


def _tinted(texture_HW: F32, dark: np.ndarray, light: np.ndarray) -> U8:
    picture_HWC: U8 = (dark + texture_HW[..., None] * (light - dark)).astype(np.uint8)
    return picture_HWC


def _house(picture_HWC: U8, box: Box, colour: F32, wall_HW: F32, rng: np.random.Generator) -> None:
    """A front with a grid of windows, some of them lit."""
    y, x = np.arange(box.height)[:, None], np.arange(box.width)
    columns = (x + box.left) % wall_HW.shape[1]
    front_HWC = colour * (0.75 + 0.5 * wall_HW[(y + box.top) % len(wall_HW), columns][..., None])
    pitch = max(4, int(len(picture_HWC) / rng.uniform(24, 40)))
    window_HW = (
        (y % pitch * 5 >= pitch * 2)
        & (x % pitch * 5 >= pitch * 2)
        & (x < box.width // pitch * pitch)
    )
    lit_HW = rng.random((box.height // pitch + 1, box.width // pitch + 1)) < 0.4
    light_HWC = np.where(
        lit_HW[y // pitch, x // pitch][..., None], [235.0, 215.0, 150.0], [38.0, 48.0, 62.0]
    )
    blend(
        picture_HWC,
        box,
        np.where(window_HW[..., None], light_HWC, front_HWC),
        np.ones(y.shape[:1] + x.shape, np.float32),
    )
