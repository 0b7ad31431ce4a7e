"""The paper's figures: STDO, CVPR 2023, tables 1 to 4, kept as TSV files under ``tables/``.

Table 1 measures WDSR on the two vlogs, table 2 five backbones on six videos, table 3 their
multiplications (its PSNR repeats table 2's game-45s), table 4 JSTDO (its STDO figures are table 2's
game-15s, so that is its video).
"""

import csv
import re
from functools import cache
from importlib import resources
from statistics import fmean

SOURCE = "STDO (CVPR 2023), tables 1, 2 and 4"
FIRST_ALONE, LAST_ALONE = "stdo first chunk only", "stdo last chunk only"
"""Methods of table 1: the network of one chunk enlarges all patches."""

_TABLE4_VIDEO = "game-15s"


def paper_figure(backbone: str, method: str, video: str, scale: int) -> float | None:
    """The paper's PSNR in dB; None where it prints none.

    Args:
        backbone: Our name (``wdsr``).
        method: Our name (``jstdo``), or `FIRST_ALONE` or `LAST_ALONE`.
        video: The name of a VSD4K video as `stdo.video.images.Vsd4k` gives it (``game_15s``), or as
            the paper does (``game-15s``).

    >>> paper_figure("wdsr", "stdo", "game_45s", 4)
    37.76
    """
    return _psnr().get((backbone, method, video.replace("_", "-"), scale))


def paper_gain(backbone: str, method: str, over: str, scale: int) -> float | None:
    """The paper's mean difference in dB between two methods over the videos of which it prints
    both; None for none.

    Args:
        over: The method that the difference is counted from.

    >>> round(paper_gain("wdsr", "jstdo", "stdo", 4), 2)
    -0.48
    """
    figures = _psnr()
    gains = [
        psnr - figures[backbone, over, video, scale]
        for (net, name, video, times), psnr in figures.items()
        if (net, name, times) == (backbone, method, scale)
        and (backbone, over, video, scale) in figures
    ]
    return fmean(gains) if gains else None


def paper_frames(video: str) -> int | None:
    """How many frames a VSD4K video has; None for any other video.

    >>> paper_frames("game_15s"), paper_frames("holiday")
    (450, None)
    """
    name = video.replace("_", "-")
    known = {each for _, _, each, _ in _psnr()}
    length = re.search(r"-(\d+)s$", name)
    return 30 * int(length[1]) if name in known and length else None


@cache
def _psnr() -> dict[tuple[str, str, str, int], float]:
    """(backbone, method, video, scale) -> dB. Where tables agree on a figure, they agree to the
    last digit."""
    rows = [row | {"backbone": "WDSR"} for row in _table("table1_one_model")] + _table(
        "table2_psnr"
    )
    rows += [row | {"video": _TABLE4_VIDEO} for row in _table("table4_joint")]
    return {
        (row["backbone"].lower(), row["method"].lower(), row["video"], int(row["scale"])): float(
            row["psnr_db"]
        )
        for row in rows
    }


def paper_macs(backbone: str, scale: int) -> float | None:
    """The paper's "FLOPs" of a 48×48 LR patch in units of 10⁹ (a multiplication and its addition
    count once)."""
    for row in _table("table3_cost"):
        if (row["backbone"].lower(), int(row["scale"])) == (backbone, scale):
            return float(row["flops_g"])
    return None


def _table(name: str) -> list[dict[str, str]]:
    text = (resources.files("stdo.reporting") / "tables" / f"{name}.tsv").read_text(
        encoding="utf-8"
    )
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))
