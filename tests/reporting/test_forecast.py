"""How long a wanted PSNR takes: laws that are known, with noise, and what cannot be said."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stdo.reporting.forecast import ERROR, Law, forecast, laws
from stdo.reporting.runs import Run, collect

TRUE = Law(35.0, 6.0, 0.6)


def test_a_law_without_noise_is_found() -> None:
    best = laws([4, 8, 16], [TRUE.psnr(n) for n in (4, 8, 16)])[0]
    assert best.power == pytest.approx(0.6, rel=0.02)
    assert best.psnr(64) == pytest.approx(TRUE.psnr(64), abs=0.01)
    assert best.passes(34.0) == pytest.approx(6 ** (1 / 0.6), rel=0.03)


def test_passes_and_psnr_are_each_others_inverse() -> None:
    for psnr in (30.0, 33.0, 34.9):
        assert TRUE.psnr(TRUE.passes(psnr)) == pytest.approx(psnr)
    assert math.isinf(TRUE.passes(35.0))
    assert math.isinf(Law(35.0, 6.0, 0.02).passes(34.9999999)), "beyond what a float holds"


@pytest.mark.parametrize("power", [0.3, 0.6, 1.0])
def test_the_range_holds_the_truth_under_the_noise_of_a_seed(power: float) -> None:
    """Of a hundred tries with noise of 0.02 dB a figure, at least nine in ten hold it."""
    rng, law, held = np.random.default_rng(0), Law(35.0, 4.0, power), 0
    for _ in range(100):
        chosen = laws([4, 8, 16], [law.psnr(n) + 0.02 * rng.standard_normal() for n in (4, 8, 16)])
        found = [each.psnr(32) for each in chosen] or [0.0]
        held += min(found) <= law.psnr(32) <= max(found)
    assert held >= 90


def test_every_law_of_the_range_agrees_with_the_figures() -> None:
    figures = [TRUE.psnr(n) for n in (5, 10, 20)]
    chosen = laws([5, 10, 20], figures)
    assert len(chosen) > 10
    for law in chosen:
        missed = [law.psnr(n) - figure for n, figure in zip((5, 10, 20), figures, strict=True)]
        assert math.hypot(*missed) <= 1.05 * ERROR


@pytest.mark.parametrize("psnr", [[30, 31, 32.5], [30, 31, 32], [32, 31, 30.5], [30, 30, 30]])
def test_gains_that_do_not_fall_have_no_law(psnr: list[float]) -> None:
    assert laws([4, 8, 16], psnr) == []


@pytest.fixture
def grown(finished_runs: Path) -> Callable[..., list[Run]]:
    """Runs as they are on disk, with the lengths, figures and seconds that are asked for."""
    run = collect([finished_runs])[-1]

    def make(*lengths: float, law: Law = TRUE, seed: int = 0) -> list[Run]:
        return [
            Run(
                run.directory,
                run.metrics
                | {"seed": seed, "passes": n, "patch_presentations": n * run.metrics["patches"]}
                | {"psnr": run.metrics["psnr"] | {"frame": law.psnr(n)}, "seconds": {"train": 3.0 * n}},
                run.provenance,
                run.config.replace("  passes: 1\n", f"  passes: {n}\n"),
            )
            for n in lengths
        ]

    return make


def test_passes_and_seconds_are_said_with_their_range(grown) -> None:
    said = forecast(grown(4, 8, 16), 34.0).splitlines()
    assert said[:2] == ["34 dB (frame)", "clip · espcn ×2 · STDO k=2"]
    passes, seconds = (part.split() for part in said[2].split("passes, "))
    assert float(passes[0]) == pytest.approx(TRUE.passes(34.0), rel=0.03)
    assert float(seconds[0]) == pytest.approx(3 * TRUE.passes(34.0), rel=0.03)
    assert float(passes[1].strip("(")) < float(passes[0]) < float(passes[3].strip(")"))
    assert "through 4, 8, 16 passes" in said[3]
    assert len(said) == 4


def test_seeds_are_one_length_and_a_fourth_length_is_a_check(grown) -> None:
    runs = [*grown(2, 4, 8, 16), *grown(16, law=Law(35.2, 6.0, 0.6), seed=1)]
    said = forecast(runs, 34.0)
    assert "through 4, 8, 16 passes" in said
    assert f"those before said {TRUE.psnr(16):.2f} dB for 16 passes, {TRUE.psnr(16) + 0.1:.2f} came" in said


def test_what_cannot_be_said_says_why(grown) -> None:
    few = "1 left out, with runs of fewer than 3 lengths: train with budget.passes=4,8,16 -m"
    assert forecast(grown(4, 8), 34.0).splitlines() == ["34 dB (frame)", few]
    assert "out of reach: the law ends at 35.0" in forecast(grown(4, 8, 16), 60.0)
    assert "does not level off over 4, 8, 16 passes" in forecast(grown(4, 8, 16, law=Law(60, 40, 0.005)), 34.0)


def test_runs_of_other_settings_do_not_mix(grown) -> None:
    other = [Run(r.directory, r.metrics, r.provenance, r.config.replace("halo: 0", "halo: 4")) for r in grown(4, 8, 16)]
    assert other[0].config != grown(4)[0].config
    said = forecast([*grown(4), *other], 34.0)
    assert said.count("STDO k=2") == 1
    assert "through 4, 8, 16" in said
    assert "1 left out" in said
