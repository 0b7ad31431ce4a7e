"""Quote texts of a command line for Hydra, so that any file name can be typed as it is.

Hydra reads ``video.path=My talk (2024).mkv`` as a call of a function, and ``video.path=café.mkv``
not at all. Here each such value is put into Hydra's quotes first.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException

from stdo.config.help import no_such_setting
from stdo.config.settings import ALL_TEXTS, LISTS_OF_TEXTS, PATHS, at_home
from stdo.core.types import UserError
from stdo.runs.settings import FORMER, SETTINGS

_SETTING = re.compile(r"(?P<start>\+{0,2}(?P<key>[A-Za-z_][\w.]*)=)(?P<value>.*)", re.DOTALL)
OPEN = re.compile(r"(trainer\.[\w.]+|callbacks\.[\w.]+|logger\.\w+\.[\w.]+)(?==)")
"""Settings that need not stand in conf/: they are arguments of classes of others."""

_SWEEPS = re.compile(r"-m|--multirun|hydra\.mode=(hydra\.types\.)?(RunMode\.)?MULTIRUN")
_QUOTED = re.compile(r"""[ \t]*("(\\.|[^"\\])*"|'(\\.|[^'\\])*')[ \t]*""", re.DOTALL)
_FUNCTION = re.compile(r"\s*[A-Za-z_]\w*\s*\(")
_PIECE = re.compile(r"""\s*("(\\.|[^"\\])*"|'(\\.|[^'\\])*')\s*(?=,|$)|[^,]*""", re.DOTALL)


def as_meant(words: Sequence[str]) -> list[str]:
    """The words of a command line, with texts in Hydra's quotes wherever Hydra would read them
    otherwise.

    What is quoted, null or empty stays. ``[one,other]`` is a list where a setting takes several. A
    comma separates the values of a sweep, and is part of the name in a command that does not sweep;
    of files that exist, the whole name comes first.

    Args:
        words: as in ``sys.argv[1:]``; those that are no such setting are handed on as they are.

    Raises:
        UserError: A name holds ``${``, which stands for another setting.
    """
    sweeps = any(_SWEEPS.fullmatch(word) for word in words)
    return [_word(_added(_renamed(word)), sweeps) for word in words]


def _added(word: str) -> str:
    """The same word with Hydra's ``++``, where a group takes more settings than conf/ has.

    >>> _added("trainer.max_steps=20"), _added("callbacks.mine.monitor=val/psnr")
    ('++trainer.max_steps=20', '++callbacks.mine.monitor=val/psnr')
    """
    return f"++{word}" if OPEN.match(word) else word


def _renamed(word: str) -> str:
    """The same word with the name of now, where a setting has a former one; says so on stderr."""
    found = re.match(r"(\+{0,2}|~)(?P<key>[A-Za-z_][\w.]*)(?==|$)", word)
    return f"{found[1]}{as_called_now(found['key'])}{word[found.end() :]}" if found else word


def as_called_now(name: str) -> str:
    """What a setting is called now; says so on stderr where it had another name before."""
    if name not in FORMER:
        return name
    sys.stderr.write(f"note: {name} is called {FORMER[name]} now\n")
    return FORMER[name]


def _word(word: str, sweeps: bool) -> str:
    found = _SETTING.fullmatch(word)
    if not found or found["key"] not in ALL_TEXTS:
        return word
    return found["start"] + _Value(found["key"], sweeps).quoted(found["value"])


class _Value:
    """The value of one setting.

    Args:
        key: Of the setting.
        sweeps: Whether the command is a sweep.
    """

    def __init__(self, key: str, sweeps: bool) -> None:
        self._key, self._sweeps = key, sweeps
        self._names_files, self._several = key in PATHS, key in LISTS_OF_TEXTS

    def quoted(self, typed: str) -> str:
        """The value, for Hydra."""
        if self._there(typed):
            return self._text(typed)
        if not typed or typed.lower() == "null" or _QUOTED.fullmatch(typed):
            return typed

        pieces = _pieces(typed)
        if self._hydra_reads_it(typed, pieces):
            return typed
        if self._sweeps and len(pieces) > 1:
            return ",".join(self._list(piece) for piece in self._joined(pieces))
        return self._list(typed)

    def _hydra_reads_it(self, typed: str, pieces: Sequence[str]) -> bool:
        """Whether Hydra makes of a value what is meant, or has a line for it."""
        read = _read(typed)
        if isinstance(read, str):
            return read == typed or self._there(read)  # the second: with Hydra's own escapes
        if read is not Ellipsis:
            return False
        if _FUNCTION.match(typed):
            return self._sweeps or typed.startswith("str(")
        return not self._sweeps and len(pieces) > 1 and any(self._there(piece) for piece in pieces)

    def _list(self, typed: str) -> str:
        """One value, which may be a list."""
        bare = typed.strip()
        if (
            not self._several
            or not (bare.startswith("[") and bare.endswith("]"))
            or self._there(typed)
        ):
            return self._text(typed)
        if bare == "[]":
            return bare
        return (
            "[" + ",".join(self._text(piece) for piece in self._joined(_pieces(bare[1:-1]))) + "]"
        )

    def _text(self, typed: str) -> str:
        """One text. Around those of a list or a sweep there may be blanks."""
        if _QUOTED.fullmatch(typed) and not self._there(typed):
            return typed
        if "${" in typed and self._there(typed):
            advice = "stands for another setting; rename it, or link to it by another name"
            raise UserError(f"{self._key}={typed}: ${{ in a name {advice}")
        # A backslash would escape the comma behind it
        plain = "\\" not in typed and _read(typed) == typed
        return typed if plain else quoted(typed)

    def _joined(self, pieces: Sequence[str]) -> list[str]:
        """Values between commas, a name that holds commas being one where such a file is there."""
        values, at = [], 0
        while at < len(pieces):
            ends = range(len(pieces), at, -1)
            wholes = ((end, self._as_it_is_there(",".join(pieces[at:end]))) for end in ends)
            found = next(((end, whole) for end, whole in wholes if whole is not None), None)
            at, value = found or (at + 1, pieces[at].strip())
            values.append(value)
        return values

    def _as_it_is_there(self, value: str) -> str | None:
        """A name, with or without the blanks around it, if something of that name is there."""
        return next((name for name in (value, value.strip()) if self._there(name)), None)

    def _there(self, path: str) -> bool:
        """Whether this is the name of something that is there."""
        if not self._names_files:
            return False
        try:
            return os.path.lexists(at_home(self._key, path))
        except ValueError:  # a NUL, which a shell cannot type
            return False


def as_people_type(word: str) -> str:
    """The word of a job of a sweep without Hydra's quotes and escapes, where `as_meant` reads it as
    the same text.

    >>> as_people_type("name=a\\:b")
    'name=a:b'
    """
    found = _SETTING.fullmatch(word)
    if not found or found["key"] not in ALL_TEXTS:
        return word
    text = _read(found["value"])
    if not isinstance(text, str):
        return word
    plain = f"{found['start']}{text}"
    again = _SETTING.fullmatch(_word(plain, False))
    return plain if again and _read(again["value"]) == text else word


def quoted(text: str) -> str:
    """A text in Hydra's quotes.

    >>> quoted("My talk (2024).mkv")
    '"My talk (2024).mkv"'
    """
    quote = Quote.single if '"' in text else Quote.double
    return str(QuotedString(text, quote).with_quotes())


def written(value: Any) -> str:
    """A value in Hydra's grammar, as it stands behind ``=`` on a command line.

    >>> written([1, None, "My talk (2024).mkv"])
    '[1,null,"My talk (2024).mkv"]'
    """
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    text = str(value)
    if not isinstance(value, str):
        return text
    plain = "\\" not in text and _read(text) == text  # a backslash would escape the comma behind it
    return text if plain else quoted(text)


def is_sweep(key: str, typed: str) -> bool:
    """Whether Hydra reads a value as several, such as ``1,2`` or ``range(1,5)``."""
    try:
        return bool(
            OverridesParser.create().parse_rule(f"{key}={typed}", "override").is_sweep_override()
        )
    except HydraException:
        return False


def _read(typed: str) -> Any:
    """What Hydra makes of a value; ... for a sweep or what a function gives, None for what it
    cannot read."""
    try:
        override = OverridesParser.create().parse_rule(f"key={typed}", "override")
    except HydraException:
        return None
    if override.is_sweep_override() or _FUNCTION.match(typed):
        return Ellipsis
    return override.value()


def _pieces(typed: str) -> list[str]:
    """What stands between the commas that are in no quotes and no list."""
    pieces: list[str] = []
    at = 0
    for piece in _between(typed):
        if at > 0:
            pieces[-1] += f",{piece}"
        else:
            pieces.append(piece)
        at += piece.count("[") - piece.count("]") if not _QUOTED.fullmatch(piece) else 0
    return pieces if at == 0 else _between(typed)


def _between(typed: str) -> list[str]:
    pieces, at = [], 0
    while at <= len(typed):
        found = _PIECE.match(typed, at)
        assert found is not None  # an empty piece matches anywhere
        pieces.append(found[0])
        at = found.end() + 1
    return pieces


def how_to_quote(error: OverrideParseException) -> str | None:
    """One line for a word that Hydra cannot read and nobody here knows; None where its own line
    says it all."""
    found = re.fullmatch(r"(\+{0,2}[^=]+)=(.*)", error.override, re.DOTALL)
    if not found:
        return None
    key, value = found[1], found[2]
    if key in SETTINGS and key not in ALL_TEXTS:
        return None
    if not re.fullmatch(r"~?\+{0,2}[A-Za-z_$][\w$.@/-]*", key, re.ASCII):
        return f"{no_such_setting(key.lstrip('+'))}; --help lists them"
    return (
        f"{key}={value}: cannot be read as it stands; quoted it can: "
        f"{shlex.quote(f'{key}={quoted(value)}')}"
    )
