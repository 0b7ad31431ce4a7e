"""How densely the code is written: statements with more than one comprehension or conditional
expression.

``python tools/density.py [files or folders]`` prints the functions with most of them, and the
totals.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DENSE = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.IfExp)
ROOT = Path(__file__).parents[1]
SHOWN = 20


@dataclass(frozen=True)
class Function:
    """A function of the source. excess: comprehensions and conditional expressions beyond one in a
    statement."""

    where: str
    excess: int


def functions(path: Path) -> Iterator[Function]:
    """Every function of a file, those inside others by themselves."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            excess = sum(max(0, dense(statement) - 1) for statement in statements(node.body))
            yield Function(f"{path}:{node.lineno} {node.name}", excess)


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a function, those of its blocks too, but not of functions inside it."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        yield statement
        for field in ("body", "orelse", "finalbody"):
            yield from statements(getattr(statement, field, []))
        for handler in getattr(statement, "handlers", []):
            yield from statements(handler.body)
        for case in getattr(statement, "cases", []):
            yield from statements(case.body)


def dense(statement: ast.stmt) -> int:
    """Comprehensions and conditional expressions of a statement itself, those of the blocks below
    it left out."""
    waiting: list[ast.AST] = [statement]
    found = 0
    while waiting:
        node = waiting.pop()
        found += isinstance(node, DENSE)
        waiting += [
            child
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, ast.stmt | ast.ExceptHandler)
        ]
    return found


def main(asked: list[str]) -> None:
    """Print the table."""
    found: list[Function] = []
    for root in [Path(each) for each in asked] or [ROOT / "src"]:
        files = [root] if root.is_file() else sorted(root.rglob("*.py"))
        for path in files:
            found += functions(path)
    found.sort(key=lambda function: -function.excess)
    for function in found[:SHOWN]:
        if function.excess:
            print(f"{function.excess:3}  {function.where}")
    several = sum(function.excess > 0 for function in found)
    print(
        f"{len(found)} functions, {several} with a dense statement, "
        f"excess {sum(each.excess for each in found)}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
