"""What a reader does with the report page: compare, search, sort, send the address, save."""

import csv
import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median
from typing import Any
from xml.etree import ElementTree

import pytest
from page_browser import Opened, changed

from stdo.reporting.page import write_page
from stdo.reporting.page_data import page_data
from stdo.reporting.results import REFERENCES, rows
from stdo.reporting.runs import Run

VIDEOS = 30
WORK = 480
"""Patch presentations."""
OVERLAPS = """all => {
  const boxes = all.map(one => one.getBoundingClientRect());
  const touch = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
    && a.top < b.bottom - 3 && b.top < a.bottom - 3;
  return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => touch(a, b))).length;
}"""


@contextmanager
def page_of(
    browser: Any, path: Path, width: int = 1440, address: str = "", **context: Any
) -> Iterator[Opened]:
    page = browser.new_page(viewport={"width": width, "height": 900}, **context)
    found = Opened(page)
    page.goto(path.as_uri() + address)
    yield found
    page.close()
    assert found.complaints == []


def gained(run: Run, video: str, db: float) -> Run:
    """The run on another video, ``db`` over bicubic in every protocol, after equal work."""
    bicubic = run.metrics["bicubic"]["psnr"]
    psnr = {key: value + db for key, value in bicubic.items()}
    facts = {"video": video, "fingerprint": f"1 {video}", "psnr": psnr}
    return changed(run, **facts, patch_presentations=WORK)


def gain_of(method: str, number: int) -> float:
    """dB over bicubic, another one for each method and video."""
    return {"awdnn": 0.5, "nas": 0.25, "stdo": 1.0}[method] + 0.01 * ((number * 17) % VIDEOS)


@pytest.fixture(scope="module")
def many(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods on many videos; one video has done unequal work."""
    firsts = [run for run in runs if run.metrics["seed"] == 0]
    copies = [
        gained(run, f"clip_{number:02d}", gain_of(run.metrics["method"], number))
        for number in range(VIDEOS)
        for run in firsts
    ]
    copies[1] = changed(copies[1], patch_presentations=3 * WORK)
    path = tmp_path_factory.mktemp("many") / "report.html"
    write_page(path, copies, "Many videos")
    return path


@pytest.fixture
def small(runs: list[Run], tmp_path: Path) -> Path:
    equal = [changed(run, patch_presentations=WORK) for run in runs]
    write_page(tmp_path / "report.html", equal, "=Tiny")
    return tmp_path / "report.html"


def test_differences_are_those_of_the_results(runs: list[Run]) -> None:
    entries = page_data(runs, "Tiny")["runs"]
    for entry, row in zip(entries, rows(runs), strict=True):
        for method in REFERENCES:
            others = [entries[index] for index in entry["against"][method]]
            theirs = [other["psnr"]["frame"] for other in others]
            over = entry["psnr"]["frame"] - fmean(theirs) if theirs else None
            assert over == pytest.approx(row[f"over_{method}"]), (entry["name"], method)
    assert any(entry["against"]["nas"] for entry in entries)


@pytest.mark.slow
def test_the_table_has_the_differences_in_the_chosen_protocol(
    browser: Any, runs: list[Run], small: Path
) -> None:
    with page_of(browser, small) as opened:
        heads = opened.page.locator("#table th").all_inner_texts()
        assert "Δ awDNN" in heads and "Δ NAS" in heads
        assert "Δ CaFM" not in heads, "no run has it"
        opened.page.locator("#selects label", has_text="PSNR").locator("select").select_option("y")
        assert opened.page.locator("#table th").all_inner_texts()[1] == "Y"
        awdnn, nas, *_ = (run.metrics["psnr"]["y"] for run in runs)
        number = opened.page.locator("#table th").all_inner_texts().index("Δ awDNN") + 1
        shown = opened.column(number)
        assert shown[0] == "–"
        assert float(shown[1].replace("−", "-")) == pytest.approx(nas - awdnn, abs=0.0051)


@pytest.mark.slow
def test_on_a_phone_the_table_says_that_it_scrolls_and_keeps_psnr_in_sight(
    browser: Any, small: Path
) -> None:
    with page_of(browser, small, width=390) as opened:
        page, more = opened.page, opened.page.locator("#table-right")
        assert "more columns" in more.inner_text()
        assert "right" in page.locator("#table-frame").get_attribute("class")
        box = page.locator("#table-box").bounding_box()
        for _ in range(9):
            if "more column" in more.inner_text():
                more.click()
                page.wait_for_timeout(50)
        assert more.inner_text() == "← first columns"
        assert page.locator("#table-box").evaluate("box => box.scrollLeft") > 0
        for kept in ("#table tbody th", "#table td.pinned"):
            seen = page.locator(kept).first.bounding_box()
            assert box["x"] <= seen["x"], kept
            assert seen["x"] + seen["width"] < box["x"] + 0.75 * box["width"], kept
        assert page.locator("#table th").nth(1).inner_text() == "frame"


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1440])
def test_labels_touch_neither_each_other_nor_points(
    browser: Any, runs: list[Run], width: int, tmp_path: Path
) -> None:
    crowd = [
        gained(changed(runs[0], passes=number + 1, params=70_000 + 900 * (number % 4)), "tiny", db)
        for number, db in enumerate([0.0, 0.01, 0.02, 0.5, 0.52, 0.9, 0.91, 0.93, 1.0])
    ]
    write_page(tmp_path / "report.html", crowd, "Crowd")
    with page_of(browser, tmp_path / "report.html", width) as opened:
        names = opened.page.locator("#cost-body .halo")
        assert names.count() >= 6
        assert names.evaluate_all(OVERLAPS) == 0
        ticks = opened.page.locator("#cost-body text:not(.halo), #cost-body .halo")
        assert ticks.evaluate_all(OVERLAPS) == 0


@pytest.mark.slow
def test_cards_are_as_high_as_their_content(browser: Any, many: Path) -> None:
    with page_of(browser, many) as opened:
        free = opened.page.locator("#summary-body .tile").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().bottom"
            " - one.lastElementChild.getBoundingClientRect().bottom)"
        )
        assert max(free) < 20


@pytest.mark.slow
def test_unequal_work_names_the_odd_one_out(browser: Any, many: Path) -> None:
    with page_of(browser, many) as opened:
        warned = opened.page.locator("#summary-body .warn")
        assert warned.count() == 1
        assert warned.inner_text().startswith("Not equal work: NAS k=3 saw ")
        assert warned.inner_text().count("saw") == 2, "the others are told together"
        first = opened.page.locator("#summary-body .tile").first
        assert "over NAS" not in first.locator(".big").inner_text()
        assert "over awDNN" in first.locator(".big").inner_text()


@pytest.mark.slow
def test_a_shortened_run_is_never_best_and_readings_are_told(
    browser: Any, runs: list[Run], tmp_path: Path
) -> None:
    awdnn, nas, stdo, _ = (changed(run, patch_presentations=WORK) for run in runs)
    psnr = dict.fromkeys(awdnn.metrics["psnr"], 99.0)
    short = changed(awdnn, shortened="trainer.overfit_batches=3", psnr=psnr, seed=7)
    pair = [changed(nas, equal="batch"), changed(stdo, equal="steps")]
    write_page(tmp_path / "report.html", [awdnn, *pair, short], "Tiny")
    with page_of(browser, tmp_path / "report.html") as opened:
        said = opened.page.locator("#summary-body").inner_text()
        assert "99.00" not in said
        assert "99.00" in opened.page.locator("#table").inner_text()
        assert "Two readings of equal work stand here (batch and steps)" in said


@pytest.mark.slow
def test_many_videos_have_mean_spread_and_worst_ten(browser: Any, many: Path) -> None:
    gains = [gain_of("stdo", number) for number in range(VIDEOS)]
    with page_of(browser, many) as opened:
        page = opened.page
        first = page.locator("#many tbody tr").first
        cells = first.locator("td").all_inner_texts()
        assert "STDO k=3" in first.inner_text()
        assert cells[0] == str(VIDEOS)
        told = [float(cell) for cell in cells[2:6]]
        expected = [fmean(gains), min(gains), median(gains), max(gains)]
        assert told == pytest.approx(expected, abs=0.0051)
        assert first.locator("circle").count() == VIDEOS
        worst = sorted(range(VIDEOS), key=lambda number: gains[number])[:10]
        listed = page.locator("#many .worst a").all_inner_texts()
        assert listed == [f"clip_{number:02d}" for number in worst]
        page.locator("#many .worst a").nth(2).click()
        assert page.locator("#focus-tools select").input_value() == f"clip_{worst[2]:02d} ×2"
        page.locator("#many-tools button", has_text="over awDNN").click()
        assert "awDNN" not in page.locator("#many tbody").inner_text()
        nas = page.locator("#many tbody tr", has_text="NAS").locator("td").first.inner_text()
        assert nas == str(VIDEOS - 1), "the one of unequal work is not compared"
        assert "Not the same videos: NAS k=3 has 29 of 30" in opened.text("#many")


@pytest.mark.slow
def test_many_videos_are_folded_and_found_again(browser: Any, many: Path) -> None:
    with page_of(browser, many) as opened:
        page = opened.page
        assert page.locator("#summary-body .tile").count() == 12
        page.locator("#summary-body .more").click()
        assert page.locator("#summary-body .tile").count() == VIDEOS
        page.get_by_label("Search").fill("CLIP_07 stdo")
        opened.wait_for_rows(1)
        assert opened.text("#runs-count") == f"1 of {3 * VIDEOS} runs"
        assert page.locator("#many").is_hidden()
        page.keyboard.press("Enter")  # the form goes nowhere
        page.get_by_label("Search").fill("no such video")
        opened.wait_for_rows(0)
        assert "No run passes the filters" in opened.text("#summary-body")
        page.get_by_label("Search").fill("")
        opened.wait_for_rows(3 * VIDEOS)
        page.locator("#table tbody tr", has_text="clip_29").first.locator("a").click()
        assert page.locator("details.run[open]").count() == 1


@pytest.mark.slow
def test_the_address_holds_what_is_seen(browser: Any, many: Path) -> None:
    with page_of(browser, many) as opened:
        page = opened.page
        page.get_by_label("Search").fill("clip_0")
        opened.wait_for_rows(30)
        page.locator("#methods button", has_text="awDNN").click()
        page.locator("#table th button", has_text="Δ bicubic").click()
        page.locator("#cost-tools button", has_text="MACs").click()
        page.locator("#focus-tools select").select_option("clip_04 ×2")
        page.locator("#focus-runs button", has_text="NAS").click()
        page.locator("nav a", has_text="Runs").click()
        rows_seen, address = opened.column(1), page.evaluate("location.hash")
    with page_of(browser, many, address=address) as opened:
        page = opened.page
        assert page.evaluate("location.hash") == address
        assert opened.column(1) == rows_seen
        assert page.get_by_label("Search").input_value() == "clip_0"
        assert page.locator("#focus-tools select").input_value() == "clip_04 ×2"
        pressed = page.locator("#focus-runs button[aria-pressed=true]").all_inner_texts()
        assert pressed == ["STDO k=3"]
        assert "MACs per frame" in opened.text("#cost-body")
        assert page.evaluate("scrollY") > 100, "it has gone to the table"
        page.evaluate("location.hash = ''")
        opened.wait_for_rows(3 * VIDEOS)
        assert page.locator("#unknown").is_hidden()
        page.evaluate("location.hash = 'video=<b>elsewhere</b>&x=params&more=1&runs=a,b&time=7'")
        page.locator("#unknown").wait_for()
        told = opened.text("#unknown")
        assert all(name in told for name in ("video=<b>elsewhere</b>", "more=1", "runs=a,b"))
        assert "time=7" in told and "x=params" not in told


@pytest.mark.slow
def test_the_table_is_saved_as_it_is_seen(browser: Any, runs: list[Run], tmp_path: Path) -> None:
    named = [changed(run, video=f"=cmd|{run.metrics['method']}") for run in runs]
    write_page(tmp_path / "report.html", named, "=1+1")
    with page_of(browser, tmp_path / "report.html", accept_downloads=True) as opened:
        opened.page.locator("#methods button", has_text="STDO").click()
        opened.page.locator("#table th button", has_text="frame").first.click()
        text = saved(opened, lambda page: page.locator("#table-tools .save").click()).decode()
    table = list(csv.DictReader(io.StringIO(text), dialect="excel-tab"))
    expected = [run for run in runs if run.metrics["method"] != "stdo"]
    expected.sort(key=lambda run: -run.metrics["psnr"]["frame"])
    assert [float(row["frame"]) for row in table] == pytest.approx(
        [run.metrics["psnr"]["frame"] for run in expected], abs=1e-4
    )
    assert [int(row["Parameters"]) for row in table] == [run.metrics["params"] for run in expected]
    assert {row["Video"] for row in table} == {"'=cmd|awdnn", "'=cmd|nas"}, "no formulas"
    assert [row["Run directory"] for row in table] == [run.directory.name for run in expected]


def saved(opened: Opened, click: Callable[[Any], None]) -> bytes:
    with opened.page.expect_download() as waiting:
        click(opened.page)
    assert "/" not in waiting.value.suggested_filename
    return Path(waiting.value.path()).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_saved_as_svg_and_png(browser: Any, small: Path, scheme: str) -> None:
    light = {"cost": "#4a4d54", "frames": "#0064d6", "training": "#0064d6", "chunks": "#00a066"}
    with page_of(browser, small, accept_downloads=True, color_scheme=scheme) as opened:
        for part in ("cost", "frames", "training", "chunks", "maps"):
            press = f"#{part}-tools .save"
            svg = saved(
                opened, lambda page, press=press: page.locator(press, has_text="SVG").click()
            )
            picture = ElementTree.fromstring(svg)
            assert picture.tag == "{http://www.w3.org/2000/svg}svg"
            words = "".join(picture.itertext())
            assert "STDO k=3" in words, part
            assert b"var(" not in svg and b"class=" not in svg, "it needs no style sheet"
            if part in light:
                colour = tuple(int(light[part][at : at + 2], 16) for at in (1, 3, 5))
                assert f"rgb({', '.join(map(str, colour))})".encode() in svg, "light in any scheme"
            png = saved(
                opened, lambda page, press=press: page.locator(press, has_text="PNG").click()
            )
            assert png.startswith(b"\x89PNG\r\n\x1a\n")
            width, height = struct.unpack(">II", png[16:24])
            assert width == 2 * int(picture.attrib["width"])
            assert height == 2 * int(picture.attrib["height"])


@pytest.mark.slow
def test_charts_answer_to_the_keyboard(browser: Any, small: Path) -> None:
    with page_of(browser, small) as opened:
        page, tip = opened.page, opened.page.locator("#tip")
        page.locator("#frames-body svg.chart").focus()
        page.keyboard.press("End")
        assert tip.inner_text().startswith("frame 5")
        page.keyboard.press("ArrowLeft")
        assert tip.inner_text().startswith("frame 4")
        page.keyboard.press("Escape")
        assert tip.is_hidden()
        page.locator("#cost-body svg.chart").focus()
        page.keyboard.press("ArrowRight")
        assert "parameters" in tip.inner_text()
        page.keyboard.press("Enter")
        assert page.locator("details.run[open]").count() == 1
        unnamed = page.locator("button, select, input, svg[role=img]").evaluate_all(
            "all => all.filter(one => !(one.getAttribute('aria-label') || one.textContent.trim()"
            " || one.labels?.length)).map(one => one.outerHTML.slice(0, 80))"
        )
        assert unnamed == []
