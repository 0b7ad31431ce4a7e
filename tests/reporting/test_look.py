"""Colours that everybody can tell apart, on white and on the dark page."""

import re
from itertools import combinations

import numpy as np
import pytest
from matplotlib.markers import MarkerStyle

from stdo.reporting.look import LOOKS, OTHERS, look
from stdo.reporting.page import ASSETS
from stdo.reporting.runs import NAMES

PAGES = {"colour": "#ffffff", "dark": "#191c22"}
SIGHT = {  # Machado, Oliveira and Fernandes 2009, severity 1, in linear RGB
    "all colours": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:  # WCAG 2
    dark, light = sorted(
        float(linear(colour) @ (0.2126, 0.7152, 0.0722)) for colour in (one, other)
    )
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:  # CIE 1976, D65
    xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ) @ np.clip(rgb, 0, 1)
    f = np.cbrt(xyz / (0.9505, 1, 1.089))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("page", PAGES)
def test_every_colour_stands_out_from_its_page(page: str) -> None:
    for each in (*LOOKS.values(), *OTHERS):
        assert contrast(getattr(each, page), PAGES[page]) >= 3, each


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("sight", SIGHT)
def test_no_two_methods_look_alike(page: str, sight: str) -> None:
    seen = {
        name: lab(np.array(SIGHT[sight]) @ linear(getattr(each, page)))
        for name, each in LOOKS.items()
    }
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 20, (one, other)


def test_shapes_differ_and_are_known_to_matplotlib() -> None:
    markers = [each.marker for each in (*LOOKS.values(), *OTHERS)]
    assert len(set(markers)) == len(markers)
    assert all(MarkerStyle(marker) for marker in markers)


def test_the_page_has_a_shape_of_its_own_for_every_marker() -> None:
    """The page draws markers itself; one that it does not know would leave legend, table and
    scatter blank."""
    script = (ASSETS / "core.js").read_text(encoding="utf-8")
    (listed,) = re.findall(r"const SHAPES = \{(.*?)\n\};", script, re.DOTALL)
    shapes = dict(re.findall(r"""(?:^|[\s,])"?([^\s",:]+)"?: "(M[^"]+Z)\"""", listed))
    assert set(shapes) == {each.marker for each in (*LOOKS.values(), *OTHERS)}
    assert len(set(shapes.values())) == len(shapes)
    assert set(LOOKS) == set(NAMES)


def test_an_unknown_method_always_looks_the_same() -> None:
    assert look("mine") is look("mine")
    assert look("mine") in OTHERS
