import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from stdo.config.studies import names, open_study
from stdo.core.types import UserError
from stdo.reporting.look import look
from stdo.reporting.plots import draw, save
from stdo.reporting.runs import Run, collect
from stdo.reporting.style import series_of


@pytest.fixture(scope="module")
def runs(finished_runs: Path) -> list[Run]:
    return collect([finished_runs])


def words(figure: Figure) -> str:
    """Every text in a figure."""
    return "\n".join(
        text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))
    )


@pytest.mark.parametrize("name", names())
def test_every_study_has_a_plot(name: str, runs: list[Run], tmp_path: Path) -> None:
    settings = open_study(name).report
    others = [{"method": method, "chunks": 4} for method in ("stdo", "jstdo")]
    where = settings["plot"].get("where", {})
    others.append(
        {key: value[0] if isinstance(value, list) else value for key, value in where.items()}
    )
    known = [
        *runs,
        *(
            Run(run.directory, run.metrics | other, {}, run.config)
            for run in runs[2:]
            for other in others
        ),
    ]
    save(tmp_path / "plot.png", draw(known, settings["plot"], settings["title"]))
    with Image.open(tmp_path / "plot.png") as image:
        assert image.info["dpi"] == pytest.approx((144, 144), abs=0.1)
        assert 400 < image.width < 4000
        assert np.asarray(image.convert("L")).std() > 5, "something is drawn"


def test_lines_are_means_of_seeds_with_their_range(runs: list[Run]) -> None:
    figure = draw(runs, {"kind": "lines", "x": "chunks"}, "a title")
    (axes,) = figure.axes
    drawn = {
        curve.get_label(): curve
        for curve in axes.lines
        if not str(curve.get_label()).startswith("_")
    }
    assert set(drawn) == {"bicubic", "awDNN", "STDO"}
    frame = [run.metrics["psnr"]["frame"] for run in runs]
    assert drawn["STDO"].get_xydata().tolist() == [[2, pytest.approx((frame[2] + frame[3]) / 2)]]
    assert drawn["bicubic"].get_ydata()[0] == pytest.approx(
        runs[0].metrics["bicubic"]["psnr"]["frame"]
    )
    bands = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
    assert [(min(band), max(band)) for band in bands] == [
        pytest.approx((min(pair), max(pair))) for pair in (frame[:2], frame[2:])
    ]
    for name in ("awDNN", "STDO"):
        assert drawn[name].get_marker() == look(name.lower()).marker
    assert "a title" in words(figure)
    assert "clip · espcn · ×2" in words(figure)


def test_a_run_that_is_the_same_under_both_readings_is_on_both_lines(runs: list[Run]) -> None:
    def point(chunks: int, equal: str | None, psnr: float) -> Run:
        facts = {
            "chunks": chunks,
            "equal": equal,
            "psnr": runs[2].metrics["psnr"] | {"frame": psnr},
        }
        return Run(runs[2].directory, runs[2].metrics | facts, {}, runs[2].config)

    shown = [point(1, None, 30.0), point(2, "batch", 29.0), point(2, "steps", 31.0), runs[0]]
    plot = {"kind": "lines", "x": "chunks", "by": ["method", "equal"]}
    (axes,) = draw(shown, plot, "").axes
    drawn = {str(curve.get_label()): curve.get_xydata().tolist() for curve in axes.lines}
    assert drawn["STDO, equal batch"] == [[1, 30.0], [2, 29.0]]
    assert drawn["STDO, equal steps"] == [[1, 30.0], [2, 31.0]]
    assert len(drawn["awDNN"]) == 1


def test_a_value_looks_the_same_with_every_method() -> None:
    def row(method: str, optimizer: str, equal: str | None) -> dict[str, Any]:
        return {"method": method, "optimizer": optimizer, "equal": equal, "run": method}

    rows = [
        row("awdnn", "muon", None), row("awdnn", "adam", None), row("nas", "adam", "batch"),
        row("nas", "muon", "steps"), row("nas", "muon", "batch"), row("stdo", "adam", "steps"),
    ]  # fmt: skip
    found = {each.label: each for each in series_of(rows, ["method", "optimizer", "equal"])}
    assert list(found) == [
        "awDNN, Muon", "awDNN, Adam", "NAS, Muon, equal batch", "NAS, Muon, equal steps",
        "NAS, Adam, equal batch", "STDO, Adam, equal steps",
    ]  # fmt: skip
    assert len({(each.colour, each.hatch) for each in found.values()}) == len(found)
    for name, each in found.items():
        assert (each.hatch == "///") == ("steps" in name)
        full = to_rgb(look(each.rows[0]["method"]).colour)
        assert (each.colour == full) == ("Muon" in name)


def test_many_runs_of_a_method_look_different() -> None:
    rows = [{"method": m, "run": f"{m} {n}"} for n in range(12) for m in ("nas", "stdo")]
    found = series_of(rows, ["run"])
    assert len({(each.colour, each.hatch) for each in found}) == 24
    assert [each.hatch for each in found[:2]] == ["", ""]  # the first run of each method


def test_bars_stand_for_one_point_each(runs: list[Run]) -> None:
    figure = draw(runs, {"kind": "bars"}, "")
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    gain = [run.metrics["psnr"]["frame"] - run.metrics["bicubic"]["psnr"]["frame"] for run in runs]
    assert heights == pytest.approx([(gain[0] + gain[1]) / 2, (gain[2] + gain[3]) / 2])
    other = Run(runs[2].directory, runs[2].metrics | {"chunks": 5}, {}, runs[2].config)
    mixed = draw([*runs, other], {"kind": "bars", "by": ["method"]}, "")
    assert len(mixed.axes[0].patches) == 3
    assert "STDO k=5" in words(mixed)


def test_the_papers_figure_is_a_mark_on_the_bar(runs: list[Run]) -> None:
    plot = {
        "kind": "bars",
        "y": "over_awdnn",
        "paper": "paper_over_awdnn",
        "where": {"method": "stdo"},
    }
    figure = draw(runs, plot, "")
    assert "paper" in words(figure)
    assert "awDNN" in words(figure)


def test_heat_maps_show_the_patches_and_their_difference(runs: list[Run]) -> None:
    figure = draw(runs, {"kind": "heatmaps", "frame": 2}, "")
    images = [
        axes.images[0].get_array()
        for axes in figure.findobj(lambda a: hasattr(a, "images"))
        if axes.images
    ]
    maps = [run.maps() for run in runs]
    assert maps[0] is not None
    assert maps[2] is not None
    bicubic, awdnn, stdo = maps[0][1][2], maps[0][0][2], maps[2][0][2]
    expected = [bicubic, awdnn, stdo, bicubic - awdnn, awdnn - awdnn, stdo - awdnn]
    assert len(images) == len(expected)
    for found, wanted in zip(images, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_crops_say_their_psnr(runs: list[Run]) -> None:
    text = words(draw(runs, {"kind": "crops"}, ""))
    for run in (runs[0], runs[2]):
        for crop in run.crops():
            if crop["why"] == "hardest for bicubic":
                assert f"{crop['ours']:.2f} dB ({crop['ours'] - crop['bicubic']:+.2f})" in text


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no kind": ({}, "plot.kind=None: must be one of lines, bars"),
    "kind": (
        {"kind": "pie"},
        "plot.kind=pie: must be one of lines, bars, scatter, heatmaps, crops",
    ),
    "column": ({"kind": "lines", "x": "chunkz"}, "plot.x=chunkz: must be a column of results.tsv"),
    "no column": ({"kind": "lines"}, "plot.x=null: lines needs one; must be a column"),
    "where": ({"kind": "bars", "where": {"method": "magic"}}, "none of the 4 runs is like that"),
    "where column": (
        {"kind": "bars", "where": {"colour": 1}},
        "plot.where=colour: must be a column",
    ),
    "argument": ({"kind": "bars", "frame": 3}, "plot.frame=3: bars takes y, by, paper and where"),
    "by": ({"kind": "lines", "x": "chunks", "by": 3}, "plot.by=3: must be a text, or a list"),
    "where text": (
        {"kind": "bars", "where": "stdo"},
        "plot.where=stdo: must be an object",
    ),
    "log": (
        {"kind": "lines", "x": "chunks", "log": "perhaps"},
        "plot.log=perhaps: must be true or false",
    ),
    "frame text": (
        {"kind": "heatmaps", "frame": "last"},
        "plot.frame=last: must be a whole number",
    ),
    "text column": ({"kind": "lines", "x": "video"}, "plot.x=video: must be a column of numbers"),
    "no figures": ({"kind": "bars", "y": "over_nas"}, "plot.y=over_nas: none of these runs has it"),
    "frame": ({"kind": "heatmaps", "frame": 99}, "plot.frame=99: must be from 0 to 5"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(runs: list[Run], mistake: str) -> None:
    plot, said = MISTAKES[mistake]
    with pytest.raises(UserError, match=re.escape(said)):
        draw(runs, plot, "")


@pytest.mark.parametrize("kind", ["heatmaps", "crops"])
def test_runs_without_pictures_are_a_mistake(runs: list[Run], tmp_path: Path, kind: str) -> None:
    bare = [Run(tmp_path, run.metrics, {}, "") for run in runs]
    with pytest.raises(UserError, match=r"stdo\.evaluate run=… makes it"):
        draw(bare, {"kind": kind}, "")
