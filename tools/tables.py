"""Write docs/settings.md from the schemas of settings and results: ``python tools/tables.py``."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stdo.runs.schema import RESULT
from stdo.runs.settings import FORMER, SETTINGS, role_of

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

HEAD = """# Settings and results

`python tools/tables.py` writes this page from the schemas (`stdo.runs.settings` and
`stdo.runs.schema`). The defaults are in `conf/`; `--help` of a command shows those that apply.

## Settings

**Effect**: *condition*: shapes the result, and must be equal in runs whose methods are compared.
*method*: shapes the result, and is part of what is compared. *seed*: runs that differ in it alone
are repetitions. *none*: does not change the result, so the run directory stays the same. A setting
of `trainer` that is not listed goes to Lightning's Trainer.
"""

RESULTS = """## Figures of a result

Fields of `metrics.json`, and the columns of results.tsv that are made of each. results.tsv also has
what is computed of several runs (`gain_frame`, `over_…`, `paper_…`) and where a run was made.
"""


def page() -> str:
    """The text of the page."""
    former = {name: old for old, name in FORMER.items()}
    settings = []
    for name, setting in SETTINGS.items():
        known = f" (was `{former[name]}`)" if name in former else ""
        effect = role_of(name).name.lower()
        settings.append((f"`{name}`", setting.help + known, setting.allowed, effect))

    figures = []
    for name, field in RESULT.items():
        columns = ", ".join(f"`{column or name}`" for column, _ in field.columns)
        figures.append((f"`{name}`", field.help, columns))

    lines = [HEAD, *table(("setting", "what it is", "allowed", "effect"), settings), "", RESULTS]
    lines += table(("field", "what it is", "columns"), figures)
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
