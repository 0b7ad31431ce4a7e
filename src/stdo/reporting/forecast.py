"""How long a wanted PSNR would take: a law of diminishing gains through finished runs of several lengths."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from stdo.reporting.runs import Run

LENGTHS = 3
"""How many lengths a law goes through: the longest. Shorter ones lead it astray (docs/decisions/0020)."""

POWERS = np.geomspace(0.02, 3, 400)
"""The powers that are tried; the least gains almost as much by each doubling as by the one before."""

ERROR = 0.05
"""dB by which a law may miss the figures (root of the summed squares) more than the best does: what a seed changes."""


@dataclass(frozen=True)
class Law:
    """``PSNR = limit − fall · passes^−power``, in dB."""

    limit: float
    fall: float
    power: float

    def psnr(self, passes: float) -> float:
        """PSNR after so many passes."""
        return self.limit - self.fall * math.pow(passes, -self.power)

    def passes(self, psnr: float) -> float:
        """Passes that a PSNR takes; infinite where it is never reached."""
        left = self.limit - psnr
        try:
            return math.pow(self.fall / left, 1 / self.power) if left > 0 else math.inf
        except OverflowError:
            return math.inf


def laws(passes: Sequence[float], psnr: Sequence[float]) -> list[Law]:
    """The laws that agree with the figures to within `ERROR`, by least squares for every power; the best first.

    None where gains do not fall from doubling to doubling, so that nothing says where they end.
    """
    found: list[tuple[float, Law]] = []
    for power in POWERS:
        terms = np.stack([np.ones(len(passes)), -(np.asarray(passes, float) ** -power)], axis=1)
        (limit, fall), *_ = np.linalg.lstsq(terms, np.asarray(psnr, float), rcond=None)
        missed = float(np.square(terms @ (limit, fall) - psnr).sum())
        found.append((missed, Law(float(limit), float(fall), float(power))))
    least, best = min(found, key=lambda each: each[0])
    if best.power == POWERS[0] or best.fall <= 0:
        return []
    return [best, *(law for missed, law in found if law.fall > 0 and missed <= least + ERROR**2 and law != best)]


def forecast(runs: Sequence[Run], target: float) -> str:
    """What the runs say of a wanted ``frame`` PSNR, for each group that differs in length and seed alone."""
    groups: dict[tuple[object, ...], dict[float, list[Run]]] = {}
    for run in runs:
        shaping = {key: value for key, value in run.shaping.items() if key not in ("passes", "budget.passes")}
        place = tuple(run.metrics[key] for key in ("video", "backbone", "scale"))
        lengths = groups.setdefault((*place, run.name, *sorted(shaping.items())), {})
        lengths.setdefault(run.metrics["patch_presentations"] / run.metrics["patches"], []).append(run)
    lines = [f"{target:g} dB (frame)"]
    for (video, backbone, scale, name, *_), lengths in groups.items():
        if len(lengths) >= LENGTHS:
            lines += [f"{video} · {backbone} ×{scale} · {name}", *(f"  {text}" for text in _of_group(lengths, target))]
    short = sum(len(lengths) < LENGTHS for lengths in groups.values())
    if short:
        lines.append(f"{short} left out, with runs of fewer than {LENGTHS} lengths: train with budget.passes=4,8,16 -m")
    return "\n".join(lines)


def _of_group(lengths: Mapping[float, Sequence[Run]], target: float) -> list[str]:
    passes = sorted(lengths)
    psnr = [fmean(run.metrics["psnr"]["frame"] for run in lengths[length]) for length in passes]
    chosen = laws(passes[-LENGTHS:], psnr[-LENGTHS:])
    which = f"{', '.join(f'{length:.3g}' for length in passes[-LENGTHS:])} passes"
    if not chosen:
        return [f"cannot be said: PSNR does not level off over {which}; train longer"]
    best = chosen[0]
    law = f"law {best.limit:.2f} − {best.fall:.3g}·passes^−{best.power:.2f} through {which}"
    per_pass = fmean(run.metrics["seconds"]["train"] for run in lengths[passes[-1]]) / passes[-1]
    return [_needed(chosen, target, per_pass), law + _check(passes, psnr)]


def _needed(chosen: Sequence[Law], target: float, per_pass: float) -> str:
    needed = [law.passes(target) for law in chosen]
    low, high = min(needed), max(needed)
    if math.isinf(low):
        limits = [law.limit for law in chosen]
        return f"is out of reach: the law ends at {limits[0]:.2f} dB ({min(limits):.2f} to {max(limits):.2f})"

    def span(unit: float) -> str:
        most = "no end" if math.isinf(high) else f"{high * unit:.3g}"
        return f"{needed[0] * unit:.3g} ({low * unit:.3g} to {most})"

    return f"{span(1)} passes, {span(per_pass)} s of training"


def _check(passes: Sequence[float], psnr: Sequence[float]) -> str:
    """What the lengths before the longest say of the longest, where there are enough."""
    before = laws(passes[-LENGTHS - 1 : -1], psnr[-LENGTHS - 1 : -1]) if len(passes) > LENGTHS else []
    if not before:
        return ""
    return f"; those before said {before[0].psnr(passes[-1]):.2f} dB for {passes[-1]:.3g} passes, {psnr[-1]:.2f} came"
