"""Packages from anywhere: each of thousands of harmed ones is refused in one line, or plays;
nothing else happens.

``STDO_MUTATIONS=100000`` tries so many, ``STDO_MUTATIONS=20000:40000`` those numbers: a mutation is
its number. ``python tests/stress/package_fuzz.py 100000`` does the same and shows how far it is.
"""

import os
import sys
from pathlib import Path

import pytest
from package_fuzz import fuzz, numbers
from package_mutations import EXTREMES_EVERY, EXTREMES_FROM
from package_specimens import OTHERS, make_all, make_joined

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="measures by /proc"),
]


FOUND = [2029, 6344]
"""Later ones that were a traceback once."""


def wanted() -> list[int]:
    asked = os.environ.get("STDO_MUTATIONS")
    within = range(EXTREMES_FROM, EXTREMES_FROM + 300 * EXTREMES_EVERY, EXTREMES_EVERY)
    return [*numbers(asked or "2000"), *([] if asked else [*FOUND, *within])]


def test_harmed_packages_are_refused_or_play(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    packages = make_all(tmp_path / "sound")
    report = fuzz(wanted(), packages, tmp_path, workers=len(os.sched_getaffinity(0)))
    print(report.table())  # noqa: T201 - shown by -s or -rP
    assert not report.failures, "\n".join(report.failures[:40])
    assert report.counts.total() == len(wanted())
    assert not list(tmp_path.parent.glob("*escaped*")) and not Path("/tmp/stdo-escaped").exists()
    harmed = ("container", "manifest.json", "graph.onnx", "weights.bin", "lr.mp4")
    # A few seeds that are tried again hold few kinds
    for member in harmed if len(wanted()) >= 2000 else ():
        assert report.counts[member, "refused"] > len(wanted()) // 100


def test_harmed_packages_of_other_kinds_are_refused_or_play(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    packages = make_all(tmp_path / "sound", kinds=OTHERS)
    report = fuzz(range(500), packages, tmp_path, workers=len(os.sched_getaffinity(0)))
    assert not report.failures, "\n".join(report.failures[:40])
    assert report.counts["weights.bin", "refused"] > 5


def test_harmed_packages_in_parts_are_refused_or_play(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    packages = make_joined(tmp_path / "sound")
    report = fuzz(range(300), packages, tmp_path, workers=len(os.sched_getaffinity(0)))
    assert not report.failures, "\n".join(report.failures[:40])
    assert report.counts["weights.bin", "refused"] > 5
