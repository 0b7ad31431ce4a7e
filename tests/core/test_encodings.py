"""Text files are UTF-8 whatever the locale: every call that opens one says so."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "stdo"
TEXT = {"read_text", "write_text"}


def without_encoding(tree: ast.AST) -> list[int]:
    """Lines of calls that read or write text in the locale's encoding."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(each.arg == "encoding" for each in node.keywords):
            continue
        called = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        first = node.args[0] if node.args else None
        mode = (
            first.value
            if isinstance(first, ast.Constant) and isinstance(first.value, str)
            else None
        )
        opens_text = called == "open" and mode in ("r", "w", "a", "x", "r+", "w+")
        if (called in TEXT and len(node.args) < 2) or opens_text:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE))
)
def test_text_files_are_utf_8(path: Path) -> None:
    assert not without_encoding(ast.parse(path.read_text(encoding="utf-8")))


def test_what_lacks_an_encoding_is_seen() -> None:
    source = (
        'Path("x").read_text()\nPath("x").open("w")\npath.write_text(text)\nPath("x").open("rb")\n'
    )
    assert without_encoding(ast.parse(source)) == [1, 2, 3]
