"""The HTML report: one file that needs no network, no server and no other file."""

import html
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from stdo.core.files import atomic
from stdo.core.types import Json, UserError
from stdo.reporting.look import BICUBIC, look
from stdo.reporting.page_data import page_data
from stdo.reporting.runs import Run

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = (
    "core", "charts", "save", "many", "overview", "table", "cost", "focus", "maps", "crops",
    "details", "address", "start",
)  # fmt: skip
"""The page's program, in the order in which its parts are joined."""


def write_page(path: Path, runs: Sequence[Run], title: str, private: bool = False) -> None:
    """Write the report on some runs, best sorted as `collect` sorts them.

    Args:
        path: The HTML file; replaced when it is there.
        runs: The runs.
        title: Heading of the page, plain text.
        private: Whether whole paths, uncommitted changes, processor and kernel are in the page.

    Raises:
        UserError: There are no runs, a run's files are damaged, or the file cannot be written.
    """
    if not runs:
        raise UserError("runs: a report needs at least one finished run")
    document = render(page_data(runs, title, private))
    try:
        with atomic(path) as partial:
            partial.write_text(document, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def render(data: Json) -> str:
    """The whole document. Whatever is in ``data`` ends up as data: nothing in it can become markup
    or program."""
    parts = {
        "title": html.escape(data["title"]),
        "style": _asset("report.css") + _colours(data["methods"]),
        "data": _inert(data),
        "script": "\n".join(_asset(f"{name}.js") for name in SCRIPTS),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("report.html"))


def _inert(data: Json) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _colours(methods: Sequence[Json]) -> str:
    """The methods' colours as CSS variables ``--m0``, ``--m1``, … in the order of ``methods``, for
    light and dark."""
    looks = [*(look(method["key"]) for method in methods), BICUBIC]
    names = [*(f"--m{index}" for index in range(len(methods))), "--bicubic"]

    def rule(of: str) -> str:
        values = (f"{name}:{getattr(each, of)}" for name, each in zip(names, looks, strict=True))
        return f":root{{{';'.join(values)}}}"

    return f"{rule('colour')}\n@media screen and (prefers-color-scheme: dark){{{rule('dark')}}}\n"


@cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
