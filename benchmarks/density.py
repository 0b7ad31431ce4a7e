"""How dense the code is: comprehensions and conditional expressions in one statement, function by
function.

    python benchmarks/density.py            the 20 densest functions of src, and the sums
    python benchmarks/density.py --most 5 tests

A statement with more than one comprehension or conditional expression holds more than one idea; it
is told by the names of intermediate values instead. The excess of a function is how many there are
beyond one in each of its statements.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DENSE = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.IfExp)
"""What is counted."""

BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Fields of a statement that hold other statements."""


@dataclass(frozen=True)
class Function:
    """A function: where it is, its lines, and how many of its expressions are beyond one in a
    statement."""

    place: str
    lines: int
    excess: int
    most: int


def functions(path: Path) -> Iterator[Function]:
    """Every function of a file, methods and nested ones included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        counts = [dense_expressions(statement) for statement in statements(node)]
        excess = sum(max(count - 1, 0) for count in counts)
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        yield Function(f"{path}:{node.lineno} {node.name}", lines, excess, max(counts, default=0))


def statements(function: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a function, those of its blocks included, those of nested functions not."""
    for field in BLOCKS:
        for child in getattr(function, field, []):
            nested = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if isinstance(child, ast.stmt) and not nested:
                yield child
            if not nested:
                yield from statements(child)


def dense_expressions(statement: ast.stmt) -> int:
    """Comprehensions and conditional expressions of a statement itself, without those of its
    blocks."""
    count = 0
    for field, value in ast.iter_fields(statement):
        if field in BLOCKS:
            continue
        parts = value if isinstance(value, list) else [value]
        for part in parts:
            if isinstance(part, ast.AST):
                count += sum(isinstance(node, DENSE) for node in ast.walk(part))
    return count


def main() -> None:
    """Print the densest functions and the sums."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("src")])
    parser.add_argument(
        "--most", type=int, default=20, help="functions that are listed; default: 20"
    )
    asked = parser.parse_args()
    files = sorted(file for folder in asked.folders for file in folder.rglob("*.py"))
    found = [function for file in files for function in functions(file)]
    found.sort(key=lambda each: (each.excess, each.most), reverse=True)
    sys.stdout.write(f"{'excess':>6} {'most':>4} {'lines':>5}  function\n")
    for each in found[: asked.most]:
        sys.stdout.write(f"{each.excess:6} {each.most:4} {each.lines:5}  {each.place}\n")
    dense = sum(each.excess > 0 for each in found)
    excess = sum(each.excess for each in found)
    sys.stdout.write(
        f"{len(found)} functions, {dense} with more than one in a statement, excess {excess}\n"
    )


if __name__ == "__main__":
    main()
