"""Heavy packages imported quickly behave as they do when they are imported plainly."""

import subprocess
import sys


def run(code: str) -> str:
    """What a fresh Python prints."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_what_was_imported_is_never_walked_again() -> None:
    printed = run("""
import gc, sys
from stdo.core.imports import quickly
with quickly():
    import pytorch_lightning
    print(gc.isenabled())
print("pytorch_lightning" in sys.modules, gc.isenabled(), gc.get_freeze_count() > 100_000)
""")
    assert printed.splitlines() == ["False", "True True True"]


def test_a_failed_import_leaves_nothing_behind() -> None:
    printed = run("""
import gc
from stdo.core.imports import quickly
try:
    with quickly():
        import no_such_package
except ModuleNotFoundError as error:
    print(error.name, gc.isenabled())
""")
    assert printed == "no_such_package True"
