"""What mkdocs.yml needs beyond its settings (``make docs``): pages in the repository's tree,
navigation, API pages.

Pages keep the places that they have in the repository, so that one relative link works in a
repository browser and in the site. docs/README.md alone says which pages there are, and in which
order.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SHELVES = ROOT / "docs" / "README.md"
BESIDE = (
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "locks/README.md",
)
FOLDERS = ("benchmarks", "docs", "examples", "experiments")
SHOWN = (".css", ".ipynb", ".md", ".png", ".svg", ".tsv")
"""Files of those folders that belong into the site, by their endings."""

FOREIGN = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?https?://[^\s>]*")
"""What a browser would load from another server."""


def sources() -> list[str]:
    """The files of the repository that the site shows, as paths from its root."""
    found = list(BESIDE)
    for folder in FOLDERS:
        paths = sorted((ROOT / folder).rglob("*"))
        found += [path.relative_to(ROOT).as_posix() for path in paths if path.suffix in SHOWN]
    return found


def rooms() -> dict[str, str]:
    """The text of each API page by its path in the site: one page a folder of the package."""
    package = ROOT / "src" / "stdo"
    pages: dict[str, str] = {}
    for init in sorted(package.rglob("__init__.py")):
        room = init.parent.relative_to(package.parent).as_posix().replace("/", ".")
        modules = [room, *(f"{room}.{path.stem}" for path in sorted(init.parent.glob("[a-z]*.py")))]
        pages[f"api/{room}.md"] = f"# {room}\n\n" + "".join(
            f"::: {module}\n\n" for module in modules
        )
    return pages


def shelves() -> list[dict[str, Any]]:
    """The navigation as docs/README.md has it: its headings, and the pages that each one links."""
    found: list[dict[str, Any]] = []
    pages: list[dict[str, Any]] = []
    for line in SHELVES.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            pages = []
            found.append({line.removeprefix("## "): pages})
        for title, target in re.findall(r"^- \[(.+?)\]\((\S+?\.md)\)", line):
            path = (SHELVES.parent / target).resolve().relative_to(ROOT)
            more = below(path)
            pages.append({title: [path.as_posix(), *more] if more else path.as_posix()})
    return found


def below(index: Path) -> list[str]:
    """The other pages in the folder of which a page is the README.md."""
    if index.name != "README.md":
        return []
    inside = [
        path for path in sources() if path.endswith(".md") and index.parent in Path(path).parents
    ]
    return [path for path in inside if path != index.as_posix()]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the navigation."""
    api = [{path.removeprefix("api/").removesuffix(".md"): path} for path in rooms()]
    start = [{"stdo": "README.md"}, {"All pages": "docs/README.md"}]
    config.nav = [{"Start": start}, *shelves(), {"Python API": api}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace what mkdocs found in docs/ by the files of the repository, at their own places."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    for path in sources():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    for path, text in rooms().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_post_page(output: str, **_: Any) -> str:
    """Refuse a page that would tell another server who reads it."""
    found = FOREIGN.search(output)
    if found:
        raise PluginError(f"the page loads something from elsewhere: {found[0]}")
    return output
