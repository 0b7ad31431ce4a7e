"""Terminal output in any encoding, UTF-8 for files."""

from __future__ import annotations

import codecs
import os
import re
import sys
from pathlib import Path

STAND_INS = {
    "×": "x", "·": "|", "–": "-", "—": "-", "−": "-", "±": "+-", "…": "...", "→": "->",
    "←": "<-", "≤": "<=", "≥": ">=",
    "≈": "~", "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "•": "*", "°": " deg",
    "Δ": "d ", "µ": "u", "μ": "u",
    "²": "^2", "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "*", "█": "#",
}  # fmt: skip
"""What stands for a sign that a terminal lacks. Others are shown by their number, as in
``caf\\xe9``."""

_ERRORS = "stdo.stand-ins"
_TERMINAL = "stdo_terminal"


def _stand_in(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handle what an encoding lacks; bytes of names that are not UTF-8 are printed as they are."""
    assert isinstance(error, UnicodeEncodeError)
    sign = error.object[error.start]
    if "\udc80" <= sign <= "\udcff":
        return bytes([ord(sign) - 0xDC00]), error.start + 1
    sign = STAND_INS.get(sign, sign)
    return sign.encode("ascii", "backslashreplace").decode("ascii"), error.start + 1


def prepare(command: bool = False) -> None:
    """Have nothing that is printed raise, and files and their names be UTF-8 whatever the locale.

    The terminal keeps the encoding that locale or PYTHONIOENCODING give it; signs that it lacks are
    replaced. Where Python was started under a locale that is not UTF-8, it is started again in its
    UTF-8 mode, in the same process: libraries and folders that are shared know no other names.

    Args:
        command: start again if need be whatever was started; else for ``python -m stdo.train``,
            ``stdo-train`` and their like alone.
    """
    once = _TERMINAL not in sys._xoptions
    if sys.getfilesystemencoding().lower() != "utf-8" and once and (command or _is_ours()):
        _start_again()
    codecs.register_error(_ERRORS, _stand_in)
    encoding = None if "PYTHONIOENCODING" in os.environ else sys._xoptions.get(_TERMINAL)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has none, and takes any sign
            stream.reconfigure(encoding=str(encoding) if encoding else None, errors=_ERRORS)


def _is_ours() -> bool:
    """Whether this process is a command of ours, and not a program that calls one."""
    started = getattr(sys.modules.get("__main__"), "__spec__", None)
    if started is not None:
        return str(started.name).startswith("stdo.")
    script = sys.argv[0] if sys.argv else ""
    return script in sys.orig_argv and re.fullmatch(r"stdo-\w+", Path(script).name) is not None


def _start_again() -> None:
    """Become the same command in UTF-8 mode."""
    terminal = getattr(sys.stdout, "encoding", None) or "ascii"
    options = ["-X", "utf8", "-X", f"{_TERMINAL}={terminal}"]
    os.execv(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]])  # noqa: S606 - no shell, and ourselves
