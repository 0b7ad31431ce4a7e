"""Figures that pages quote are those of the results that they name."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from figures import ROOT, WrongFigureError, pages, renewed, wrong

TSV = """method\tequal\tvideo\tscale\tseed\tpsnr_frame\tover_awdnn
awdnn\t\tgame_a\t4\t0\t30.1234\t
stdo\tbatch\tgame_a\t4\t0\t29.0\t-1.10
stdo\tbatch\tgame_a\t4\t1\t29.5\t-0.50
stdo\tsteps\tgame_a\t4\t0\t31.0\t0.8766
stdo\tsteps\tcity_b\t4\t0\t25.0\t0.2
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "r.tsv").write_text(TSV)
    return str(tmp_path / "r.tsv")


def test_every_page_quotes_what_its_results_say() -> None:
    lines = [
        f"{page.relative_to(ROOT)}: {line}"
        for page in pages()
        for line in wrong(page.read_text(encoding="utf-8"))
    ]
    assert not lines, "python tools/figures.py renews them; read what the sentences say then"


def test_findings_that_name_their_results_do_so_for_every_number() -> None:
    """In the finding of a study that has any mark, every number with a decimal point has one."""
    bare = re.compile(r"<!--.*?-->", re.DOTALL)
    for page in pages():
        finding = page.read_text(encoding="utf-8").partition("## Finding")[2].partition("\n## ")[0]
        if "<!-- " not in finding:
            continue
        left = re.sub(r"<!-- table .*?<!-- end -->", "", finding, flags=re.DOTALL)
        left = re.sub(r"[+−]?\d[\d,.]*\**<!-- .*?-->", "", left, flags=re.DOTALL)
        assert not re.findall(r"[+−]\d\S*|\d+\.\d+ ?dB", bare.sub("", left)), page


def test_a_table_is_made_of_the_results(file: str) -> None:
    mark = (
        f"<!-- table {file}: over_awdnn of method, equal by video where equal = steps | batch -->"
    )
    made = renewed(f"before\n{mark}\nold\n<!-- end -->\nafter")
    assert made == (
        f"before\n{mark}\n\n|  | game | city |\n| --- | --- | --- |\n"
        "| STDO, `steps` | +0.88 | +0.20 |\n| STDO, `batch` | −0.80 | – |\n\n<!-- end -->\nafter"
    )
    assert renewed(made) == made and not list(wrong(made))
    assert len(list(wrong(made.replace("+0.88", "+0.89")))) == 1


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("−0.80<!-- over_awdnn of FILE where equal = batch -->", True),
        ("**−0.8**<!-- over_awdnn of FILE where equal = batch -->", True),
        ("−0.79<!-- over_awdnn of FILE where equal = batch -->", False),
        ("0.60<!-- spread over_awdnn of FILE where equal = batch -->", True),
        ("−0.5<!-- max over_awdnn of FILE where equal = batch, video = game -->", True),
        ("30.12<!-- psnr_frame of FILE where method = awdnn -->", True),
        ("30.13<!-- psnr_frame of FILE where method = awdnn -->", False),
        ("1.00<!-- over_awdnn of FILE where method = awdnn -->", False),
        ("1.00<!-- over_awdnn of FILE where method = nobody -->", False),
        ("1.00<!-- over_nobody of FILE -->", False),
        ("1.00<!-- over_awdnn of nowhere.tsv -->", False),
    ],
)
def test_a_number_is_held_to_its_results(text: str, right: bool, file: str) -> None:
    assert (not list(wrong(text.replace("FILE", file)))) == right


def test_numbers_are_renewed_in_their_own_form(file: str) -> None:
    mark = f"<!-- over_awdnn of {file} where equal = batch -->"
    number = f"<!-- psnr_frame of {file} where method = awdnn -->"
    text = f"It is **+0.7**{mark} or −0.75{mark}, and 29{number}, 30.12{number}."
    assert renewed(text) == f"It is **−0.8**{mark} or −0.80{mark}, and 30{number}, 30.12{number}."


def test_a_table_of_nothing_is_no_table(file: str) -> None:
    with pytest.raises(WrongFigureError, match="no row where method = x"):
        renewed(
            f"<!-- table {file}: over_awdnn of method by video where method = x -->\n<!-- end -->"
        )
    with pytest.raises(WrongFigureError, match="no column nothing"):
        renewed(f"<!-- table {file}: seed of nothing by video -->\n<!-- end -->")
