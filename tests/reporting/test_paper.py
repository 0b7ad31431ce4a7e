import csv
from pathlib import Path

import pytest

from stdo.reporting import paper

TABLES = Path(paper.__file__).parent / "tables"


def table(name: str) -> list[dict[str, str]]:
    with (TABLES / f"{name}.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_printed_figure_is_found() -> None:
    for row in table("table2_psnr"):
        found = paper.paper_figure(
            row["backbone"].lower(), row["method"].lower(), row["video"], int(row["scale"])
        )
        assert found == float(row["psnr_db"]), row
    assert len(table("table2_psnr")) == 5 * 4 * 6 * 3


def test_tables_3_and_4_repeat_table_2() -> None:
    """They name no video; that they agree in every figure is how we know which one it is."""
    for row in table("table3_cost"):
        for method in ("cafm", "stdo"):
            found = paper.paper_figure(
                row["backbone"].lower(), method, "game_45s", int(row["scale"])
            )
            assert found == float(row[f"{method}_psnr_db"]), row
    for row in table("table4_joint"):
        if row["method"] == "STDO":
            assert paper.paper_figure("wdsr", "stdo", "game_15s", int(row["scale"])) == float(
                row["psnr_db"]
            )


def test_what_the_paper_does_not_print_is_none() -> None:
    assert paper.paper_figure("wdsr", "stdo", "holiday", 4) is None
    assert paper.paper_figure("espcn", "jstdo", "game_15s", 4) is None
    assert paper.paper_gain("espcn", "jstdo", "awdnn", 4) is None
    assert paper.paper_macs("resnet", 4) is None
    assert paper.paper_frames("game_20s") is None


def test_gains_are_means_over_the_videos_that_have_both() -> None:
    # by hand from table 2, ESPCN ×2, STDO - awDNN: six videos
    rows = [
        row for row in table("table2_psnr") if (row["backbone"], row["scale"]) == ("ESPCN", "2")
    ]
    psnr = {(row["method"], row["video"]): float(row["psnr_db"]) for row in rows}
    videos = {video for _, video in psnr}
    expected = sum(psnr["STDO", video] - psnr["awDNN", video] for video in videos) / 6
    assert paper.paper_gain("espcn", "stdo", "awdnn", 2) == pytest.approx(expected)
    assert paper.paper_gain("espcn", "awdnn", "awdnn", 2) == 0
    assert paper.paper_gain("wdsr", "jstdo", "stdo", 2) == pytest.approx(45.46 - 45.75)


def test_one_network_for_all_patches() -> None:
    assert paper.paper_figure("wdsr", paper.FIRST_ALONE, "vlog_45s", 4) == 43.75
    assert paper.paper_figure("wdsr", paper.LAST_ALONE, "vlog_15s", 2) == 46.89
    assert paper.paper_macs("espcn", 3) == 0.15
