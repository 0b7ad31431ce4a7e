"""Pages hang together: each is on a shelf, links lead somewhere, and figures of the README are
those of its files."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SHELVES = ROOT / "docs" / "README.md"
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "benchmarks").glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "experiments").rglob("*.md"),
    *(ROOT / "locks").glob("*.md"),
]


def links(page: Path) -> set[Path]:
    """The files of the repository that a page links or shows."""
    text = re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [target.partition("#")[0] for target in targets if "://" not in target]
    return {(page.parent / target).resolve() for target in local if target}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        assert target.exists(), target


def test_every_page_is_on_a_shelf() -> None:
    headings = re.findall(r"^## (.+)", SHELVES.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == ["Use", "Methods and protocol", "Formats", "Internals"]
    found = links(SHELVES)
    for index in [path for path in found if path.name == "README.md"]:  # of decisions, of studies
        found |= links(index)
    assert {*PAGES} - found == {SHELVES, README}


def test_every_picture_of_the_docs_is_shown() -> None:
    shown = set().union(*map(links, PAGES))
    assert {*(ROOT / "docs" / "images").iterdir()} <= shown


def test_the_tables_of_settings_and_results_are_those_of_the_schemas() -> None:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "tools" / "tables.py")
    assert spec is not None and spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert tables.PAGE.read_text(encoding="utf-8") == tables.page(), "python tools/tables.py"


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 100


def test_all_of_ci_is_one_script() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert re.findall(r"^ +- run: (.+)$", workflow, re.MULTILINE) == [".ci/run"]
    steps = re.findall(
        r"^make .+$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert steps == ["make test", "make lint", "make docs", "make test-slow"]


def test_the_citation_is_of_this_version_and_these_authors() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["authors"] == citation["authors"] == [{"name": "the stdo developers"}]
    assert (project["version"], project["license"]) == (citation["version"], citation["license"])
