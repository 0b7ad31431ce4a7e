"""Keep the current folder out of the import path. Imported first.

``python -m`` puts the current folder in front of everything that Python imports: in a folder of a
stranger's, its ``av.py`` would run in place of PyAV. ``stdo-play`` and ``python -P -m`` do not.
This module takes the folder out again, before anything is imported that is no part of Python's
core; docs/security.md says what is imported before.
"""

import os
import sys


def leave_out_current_folder() -> None:
    """Take the current folder out of the path of imports, where ``python -m`` has put it."""
    if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - pathlib comes later
        del sys.path[0]
