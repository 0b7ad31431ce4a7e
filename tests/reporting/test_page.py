"""The HTML report, opened in a real browser."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_browser import Opened, changed, killed_after

from stdo.core.provenance import as_typed
from stdo.core.types import UserError
from stdo.reporting import page_data as page_data_module
from stdo.reporting.look import LOOKS
from stdo.reporting.page import ASSETS, write_page
from stdo.reporting.page_data import best_of_each_method, page_data
from stdo.reporting.runs import Run

NASTY = """</script><script>document.title="caught"</script><b>"ü&'“\u2028{{data}}"""
OTHER_SIZES = (9_500, 1_250_000)


def test_whatever_a_run_is_called_stays_data(runs: list[Run], tmp_path: Path) -> None:
    named = [changed(run, video=NASTY) for run in runs]
    write_page(tmp_path / "report.html", named, NASTY)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("<script") == text.count("</script>") == 2
    stored = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert stored is not None
    data = json.loads(stored[1])
    assert data["title"] == NASTY
    assert {run["video"] for run in data["runs"]} == {NASTY}
    assert "<title>&lt;/script&gt;" in text


def test_nothing_is_asked_from_the_network(runs: list[Run], tmp_path: Path) -> None:
    write_page(tmp_path / "report.html", runs, "Tiny")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert set(re.findall(r"\b(?:https?|wss?)://[^\s\"'`<]+", text)) == {
        "http://www.w3.org/2000/svg"
    }
    assert re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(?!data:)', text) == []


def test_pictures_that_runs_share_are_kept_once(runs: list[Run]) -> None:
    data = page_data(runs, "Tiny")
    shown = [entry for entry in data["runs"] if entry["crops"]]
    assert [entry["name"] for entry in shown] == [
        "awDNN",
        "NAS k=3",
        "STDO k=3",
    ]  # of two seeds the first
    hard = [
        [crop for crop in entry["crops"] if crop["why"] == "hardest for bicubic"] for entry in shown
    ]
    assert hard[0]
    for kind in ("truth", "bicubic"):
        keys = [[crop["files"][kind] for crop in crops] for crops in hard]
        assert keys[0] == keys[1] == keys[2]
    assert hard[0][0]["files"]["ours"] != hard[2][0]["files"]["ours"]
    assert "3 of 4 runs" in data["notes"][0]


def test_maps_say_what_the_run_measured(runs: list[Run]) -> None:
    data = page_data(runs, "Tiny")
    ours, bicubic = runs[0].maps()
    kept = data["runs"][0]["maps"]
    for name, values in (("ours", ours), ("bicubic", bicubic)):
        stored = (
            np.frombuffer(base64.b64decode(data["pool"][kept[name]]), "<u2").reshape(values.shape)
            / 100
        )
        np.testing.assert_allclose(stored, values, atol=0.0051)
    # 35 LR columns in patches of 12: 12, 12, 11
    assert (kept["x"], kept["y"]) == ([0, 24, 48, 70], [0, 20, 40, 50])
    y, x = page_data_module._edges(changed(runs[0], scale=3), 2, 2)
    # The padding, two columns and one row here, is not shown
    assert (x, y) == ([0, 36, 70], [0, 30, 50])


def test_images_stop_at_the_budget_and_it_is_said(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sum(len(entry["crops"]) for entry in page_data(runs, "Tiny")["runs"])
    monkeypatch.setattr(page_data_module, "IMAGE_BYTES", 20_000)
    data = page_data(runs, "Tiny")
    images = [value for value in data["pool"].values() if value.startswith("data:image")]
    assert 0 < sum(map(len, images)) <= 20_000
    left = whole - sum(len(entry["crops"]) for entry in data["runs"])
    assert data["notes"][1].startswith(f"{left} crops were left out")


def test_gains_show_no_place_twice(runs: list[Run], tmp_path: Path) -> None:
    crops = runs[0].crops()
    first = next(crop for crop in crops if crop["why"] == "hardest for bicubic")
    again = [
        first | {"why": why, "frame": 5} for why in ("largest gain", "worst: loses to bicubic")
    ]
    shutil.copytree(runs[0].directory / "crops", tmp_path / "crops")
    (tmp_path / "crops" / "crops.json").write_text(json.dumps([*again, first]))
    [entry] = page_data([replace(runs[0], directory=tmp_path)], "Again")["runs"]
    assert [crop["why"] for crop in entry["crops"]] == [
        "hardest for bicubic",
        "worst: loses to bicubic",
    ]


def test_training_is_shown_over_presentations_and_seconds(runs: list[Run]) -> None:
    for run, entry in zip(runs, page_data(runs, "Tiny")["runs"], strict=True):
        curve = run.curve()
        work, psnr, seconds = zip(*entry["training"], strict=True)
        assert len(work) == len(curve)
        assert list(work) == [row["presentations"] for row in curve]
        assert psnr == pytest.approx([row["psnr"] for row in curve], abs=1e-3)
        assert seconds == pytest.approx([row["seconds"] for row in curve], abs=0.01)


def test_long_curves_are_thinned(runs: list[Run], tmp_path: Path) -> None:
    rows = [f"{t},{t / 25},{30 + t % 7},,0.9,28,28,0.8" for t in range(5000)]
    (tmp_path / "frames.csv").write_text(
        "\n".join(["frame,pts,psnr,y,ssim,bicubic_psnr,bicubic_y,bicubic_ssim", *rows])
    )
    data = page_data([replace(changed(runs[0], frames=5000), directory=tmp_path)], "Long")
    frames = data["pool"][data["runs"][0]["curves"]["frame"]].split(",")
    assert len(frames) <= 600
    assert (frames[0], frames[-1]) == ("0", "4999")


def test_many_runs_have_fewer_points_each_and_it_is_said(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_data_module, "MANY_RUNS", 1)
    monkeypatch.setattr(page_data_module, "FRAME_POINTS", 12)
    monkeypatch.setattr(page_data_module, "MAP_FRAMES", 6)
    data = page_data(runs, "Tiny")
    for entry in data["runs"]:
        assert data["pool"][entry["curves"]["frame"]] == "0,2,5"  # a quarter of 12
    assert data["runs"][0]["maps"]["frames"] == [0, 5]  # a third of 6: three have maps
    assert any("curves and maps show some of the frames" in note for note in data["notes"])


def test_best_of_each_method_takes_the_first_seed() -> None:
    def entry(
        method: str, point: str, seed: int, psnr: float, network: int | None = None
    ) -> dict[str, Any]:
        place = {"video": "v", "scale": 4, "backbone": "espcn"}
        return place | {
            "method": method,
            "point": point,
            "seed": seed,
            "psnr": {"frame": psnr},
            "network": network,
        }

    entries = [
        entry("stdo", "STDO k=4", 1, 35.0),
        entry("stdo", "STDO k=4", 0, 34.0),
        entry("stdo", "STDO k=2", 0, 33.0),
        entry("stdo", "STDO k=4, network 0 alone", 0, 39.0, network=0),
        entry("nas", "NAS k=4", 0, 32.0),
    ]
    assert best_of_each_method(entries) == [1, 4]


def test_names_are_told_apart(runs: list[Run]) -> None:
    twice = [
        runs[0],
        changed(runs[0], passes=8),
        replace(runs[0], directory=Path("outputs/awdnn-0123abcd")),
    ]
    names = [entry["name"] for entry in page_data(twice, "Twice")["runs"]]
    assert len(set(names)) == 3
    assert names[1].startswith("awDNN, passes 8")


def test_other_pixels_are_another_video(runs: list[Run]) -> None:
    coded = replace(runs[0], config=runs[0].config + "degrade:\n  codec: x264\n  crf: 28\n")
    data = page_data(
        [runs[0], changed(runs[0], frames=300), changed(runs[0], scale=3), coded], "Videos"
    )
    assert [entry["video"] for entry in data["runs"]] == [
        "tiny, 6 frames",
        "tiny, 300 frames",
        "tiny",
        "tiny, x264 crf 28",
    ]
    assert len({entry["name"] for entry in data["runs"]}) == 1


def test_mixed_origins_are_said(runs: list[Run]) -> None:
    clean = [
        replace(run, provenance=run.provenance | {"commit": "a" * 40, "diff": ""}) for run in runs
    ]
    notes = page_data(clean, "Clean")["origin"]
    assert [note["warn"] for note in notes] == [False, False]
    assert "aaaaaaaaaa" in notes[0]["text"]
    other = replace(
        runs[0], provenance=runs[0].provenance | {"commit": "b" * 40, "diff": "- a\n+ b"}
    )
    notes = page_data([*clean[1:], other], "Mixed")["origin"]
    assert notes[0] == {
        "warn": True,
        "text": "Runs of 2 different commits: aaaaaaaaaa (3 runs), bbbbbbbbbb (1 run).",
    }
    assert notes[2]["text"].startswith("1 of 4 runs were made with uncommitted changes")


def test_commands_can_be_pasted() -> None:
    assert (
        as_typed(["train.py", "video.path=my clip.mp4"])
        == "python -m stdo.train 'video.path=my clip.mp4'"
    )
    assert as_typed(["stdo-train", "scale=2"]) == "python -m stdo.train scale=2"
    assert as_typed([]) == ""


def test_mistakes_are_one_line(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one finished run"):
        write_page(tmp_path / "report.html", [], "Nothing")
    with pytest.raises(UserError, match="cannot be written"):
        write_page(tmp_path / "nowhere" / "report.html", runs, "Nowhere")


def test_the_pages_own_files_stay_readable() -> None:
    assert all(len(path.read_text().splitlines()) <= 300 for path in ASSETS.iterdir())


# In the browser
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("html") / "report.html"
    name = "a_rather_long_name_of_a_video_" + "1920x1080_" * 4
    long = [
        changed(run, video=name, scale=3, params=size)
        for run, size in zip(runs[:2], OTHER_SIZES, strict=True)
    ]
    write_page(path, [*runs, *long], "Tiny runs")
    return path


@pytest.fixture
def opened(browser: Any, report: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    width, scheme = getattr(request, "param", (1440, "light"))
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        has_touch=width < 500,
        reduced_motion="reduce",
    )
    found = Opened(page)
    page.goto(report.as_uri())
    yield found
    page.close()
    assert found.complaints == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "opened", [(360, "dark"), (390, "light"), (768, "light"), (1440, "light")], indirect=True
)
def test_it_fits_and_every_section_says_something(opened: Opened) -> None:
    width = opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert width, "scrolls sideways"
    drawn = {
        "#summary-body article": 2,
        "#table tbody tr": 6,
        "#cost-body .point": 6,
        "#frames-body path.line": 4,  # bicubic and the best of three methods
        "#training-body path.line": 3,
        "#chunks-body rect": 7,
        "#maps-body figure": 4,
        "#crops-body img": 4,
        "#details-body details": 6,
    }
    for selector, least in drawn.items():
        assert opened.page.locator(selector).count() >= least, selector
    assert opened.page.evaluate(
        "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
    )
    assert "NaN" not in opened.text("body")
    assert "undefined" not in opened.text("body")
    assert opened.page.locator("svg [d*=NaN], svg [x*=NaN], svg [y*=NaN]").count() == 0


@pytest.mark.slow
def test_sorting_sorts_by_number_with_mouse_and_keyboard(opened: Opened, runs: list[Run]) -> None:
    head = opened.page.locator("#table th", has_text="Parameters")
    number = opened.page.locator("#table th").all_inner_texts().index("Parameters") + 1
    sizes = sorted([*(run.metrics["params"] for run in runs), *OTHER_SIZES])
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [plain(text) for text in opened.column(number)] == pytest.approx(sizes, rel=0.01)
    opened.page.keyboard.press("Enter")  # the heading has kept the focus
    assert head.get_attribute("aria-sort") == "descending"
    assert [plain(text) for text in opened.column(number)] == pytest.approx(sizes[::-1], rel=0.01)


def plain(short: str) -> float:
    number, unit = short.split()
    return float(number) * {"k": 1e3, "M": 1e6}[unit]


@pytest.mark.slow
def test_filters_and_protocols(opened: Opened, runs: list[Run]) -> None:
    page = opened.page
    page.locator("#selects label", has_text="Video").locator("select").select_option("tiny")
    assert page.locator("#table tbody tr").count() == 4
    page.locator("#methods button", has_text="NAS").click()
    assert page.locator("#table tbody tr").count() == 3
    assert "NAS" not in opened.text("#summary-body")
    page.locator("#selects label", has_text="PSNR").locator("select").select_option("pooled")
    stdo = [run.metrics["psnr"]["pooled"] for run in runs if run.metrics["method"] == "stdo"]
    assert f"{sum(stdo) / 2:.2f}" in opened.text("#summary-body")
    assert "2 seeds" in opened.text("#summary-body")
    for name in ("awDNN", "STDO"):
        page.locator("#methods button", has_text=name).click()
    assert page.locator("#table tbody tr").count() == 0
    assert "No run passes the filters" in opened.text("#summary-body")


@pytest.mark.slow
def test_a_figure_that_does_not_exist_is_a_dash(
    browser: Any, runs: list[Run], tmp_path: Path
) -> None:
    def without(run: Run) -> Run:
        ours, bicubic = run.metrics["psnr"] | {"stdo_patch": None}, run.metrics["bicubic"]
        return changed(
            run, psnr=ours, bicubic=bicubic | {"psnr": bicubic["psnr"] | {"stdo_patch": None}}
        )

    write_page(tmp_path / "report.html", [without(run) for run in runs], "None")
    page = browser.new_page()
    found = Opened(page)
    page.goto((tmp_path / "report.html").as_uri())
    page.locator("#selects label", has_text="PSNR").locator("select").select_option("stdo_patch")
    assert "no figure in this protocol" in found.text("#summary-body")
    number = page.locator("#table th").all_inner_texts().index("STDO patch") + 1
    page.locator("#table th button", has_text="STDO patch").click()
    assert set(found.column(number)) == {"–"}
    assert "NaN" not in found.text("body")
    assert found.complaints == []
    page.close()


@pytest.mark.slow
def test_training_goes_by_the_clock_when_asked(opened: Opened) -> None:
    assert "patch presentations" in opened.text("#training-body")
    opened.page.locator("#training-tools button", has_text="Seconds").click()
    assert "seconds of training" in opened.text("#training-body")
    assert opened.page.locator("#training-body path.line").count() >= 3


@pytest.mark.slow
def test_sliders_move(opened: Opened) -> None:
    page = opened.page
    frame = page.locator("#maps-frame")
    frame.focus()
    page.keyboard.press("Home")
    first = opened.text("#maps-body .maps")
    assert "frame 0 of 6" in opened.text("#maps-body")
    page.keyboard.press("End")
    assert "frame 5 of 6" in opened.text("#maps-body")
    assert opened.text("#maps-body .maps") != first
    view = page.locator(".pair .view").first
    divider = view.locator("input")
    divider.focus()
    page.keyboard.press("End")
    assert (
        view.locator("img").nth(1).evaluate("(image) => image.style.clipPath")
        == "inset(0px 0% 0px 0px)"
    )
    box = view.bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    page.wait_for_timeout(100)
    assert 20 <= int(divider.input_value()) <= 30


@pytest.mark.slow
@pytest.mark.parametrize("opened", [(390, "light")], indirect=True)
def test_the_divider_follows_a_finger(opened: Opened) -> None:
    view = opened.page.locator(".pair .view").first
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    opened.page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    opened.page.wait_for_timeout(100)
    assert 75 <= int(view.locator("input").input_value()) <= 85


@pytest.mark.slow
def test_maps_and_crops_compare_runs(opened: Opened) -> None:
    page = opened.page
    page.locator("#maps-tools button", has_text="against the first").click()
    assert "NAS k=3 − awDNN" in opened.text("#maps-body")
    page.get_by_label("After").select_option(label="STDO k=3")
    page.get_by_label("Before").select_option(label="awDNN")
    assert page.locator(".pair .tag.left").first.inner_text() == "awDNN"
    page.locator("#focus-runs button", has_text="seed 1").click()
    assert "Without a map in this page: STDO k=3, seed 1" in opened.text("#maps-body")


@pytest.mark.slow
def test_a_run_tells_where_it_comes_from(opened: Opened) -> None:
    opened.page.locator("#table tbody a", has_text="NAS").first.click()
    details = opened.page.locator("details.run[open]")
    assert "python -m stdo.train method=nas 'video.path=my clip.mp4'" in details.inner_text()
    assert "The command that repeats this run" in details.inner_text()
    assert "height: 10" in details.inner_text()
    details.locator("button.copy").click()
    details.locator("button.copy", has_text="Copied").wait_for()


@pytest.mark.slow
def test_every_method_has_a_marker_that_is_seen(
    browser: Any, runs: list[Run], tmp_path: Path
) -> None:
    methods = [*LOOKS, "mine", "yours", "theirs", "another"]
    shown = [
        changed(runs[0], method=method, params=1000 + index) for index, method in enumerate(methods)
    ]
    write_page(tmp_path / "report.html", shown, "Markers")
    page = browser.new_page()
    found = Opened(page)
    page.goto((tmp_path / "report.html").as_uri())
    for place in ("#methods .swatch path", "#table .swatch path", "#cost-body svg path"):
        drawn = page.locator(place).evaluate_all(
            "all => all.map(one => one.getBBox().width * one.getBBox().height)"
        )
        assert len(drawn) >= len(methods), place
        assert min(drawn) > 20, place
    assert found.complaints == []
    page.close()


@pytest.mark.slow
def test_nasty_names_are_shown_as_they_are(browser: Any, runs: list[Run], tmp_path: Path) -> None:
    write_page(
        tmp_path / "report.html", [changed(run, video=NASTY, backbone=NASTY) for run in runs], NASTY
    )
    page = browser.new_page()
    found = Opened(page)
    page.goto((tmp_path / "report.html").as_uri())
    assert found.complaints == []
    assert page.title().startswith("</script><script>")
    assert page.locator("h1").text_content() == NASTY
    assert page.locator("b").count() == 0
    page.close()


@pytest.mark.slow
def test_a_browser_that_spins_is_killed(browsers: Iterator[Any]) -> None:
    page = next(browsers).new_page()
    with killed_after(2), pytest.raises(Exception, match="closed"):
        page.evaluate("() => { for (;;); }")
    page = next(browsers).new_page()
    assert page.evaluate("1 + 1") == 2
    page.close()
