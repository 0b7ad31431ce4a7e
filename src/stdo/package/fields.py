"""JSON taken apart field by field, each with its type and its range. Standard library alone."""

import re
from collections.abc import Callable
from fractions import Fraction
from math import isfinite
from typing import Any

from stdo.core.foreign import parse_json
from stdo.core.types import Json, T, UserError

_LONGEST = 60
"""Characters of a bad value that a message shows."""


def parse(text: bytes, file: str) -> Json:
    """A JSON object from a file of that name. Raises UserError where it is none, or has a key twice."""
    fields = parse_json(text, file)
    if not isinstance(fields, dict):
        raise UserError(f"{file}: damaged (it is not a JSON object)")
    return fields


class FieldError(UserError):
    """A field that is out of its range.

    field: its path, such as ``source.width``. value: as it is. allowed: what it must be.
    """

    def __init__(self, file: str, field: str, value: object, allowed: str) -> None:
        shown = "".join(each if each.isprintable() else "?" for each in repr(value))[:_LONGEST]
        super().__init__(f"{file}: {field}={shown}: must be {allowed}")
        self.field, self.value, self.allowed = field, value, allowed


class Fields:
    """A JSON object, whose fields are taken one by one; `end` refuses any that was not asked for.

    Every method raises UserError, in one line, for a field that is missing, of another type or out of range.

    file: what messages call the file. path: where in it this object is.
    """

    def __init__(self, fields: Any, file: str, path: str = "") -> None:
        self._file, self._path = file, path
        self.check(isinstance(fields, dict), "", fields, "an object")
        self._left: Json = dict(fields)

    @property
    def keys(self) -> list[str]:
        """Fields that were not taken yet."""
        return list(self._left)

    def check(self, holds: bool, key: str, value: object, allowed: str) -> None:
        """Raise UserError for a field's value unless it ``holds``."""
        if not holds:
            raise FieldError(self._file, self._name(key), value, allowed)

    def _name(self, key: str) -> str:
        return f"{self._path}{key}".rstrip(".")[:_LONGEST] or "content"

    def take(self, key: str) -> Any:
        """A field as it is."""
        if key not in self._left:
            raise UserError(f"{self._file}: {self._name(key)}: is missing")
        return self._left.pop(key)

    def end(self) -> None:
        """All fields have been taken."""
        for key in self._left:
            raise UserError(f"{self._file}: {self._name(ascii(key))}: no such field")

    def part(self, key: str) -> "Fields":
        """An object within this one."""
        return Fields(self.take(key), self._file, f"{self._path}{key}.")

    def optional(self, key: str, take: Callable[[str], T]) -> T | None:
        """What ``take`` makes of a field that may be null."""
        if self._left.get(key, ...) is None:
            del self._left[key]
            return None
        return take(key)

    def whole(self, key: str, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self.take(key)
        self.check(_whole(value, low, high), key, value, f"a whole number from {low} to {high}")
        return int(value)

    def number(self, key: str, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        value = self.take(key)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        self.check(good and low <= value <= high and isfinite(value), key, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def text(self, key: str, pattern: str = r"[^\x00-\x1f\x7f]{1,400}") -> str:
        """A text that matches a regular expression; one line of up to 400 characters by default."""
        value = self.take(key)
        good = isinstance(value, str) and re.fullmatch(pattern, value) is not None
        self.check(good, key, value, f"a text that matches {pattern}")
        return str(value)

    def one_of(self, key: str, *allowed: Any) -> Any:
        """One of some numbers or texts."""
        value = self.take(key)
        good = isinstance(value, int | str) and not isinstance(value, bool) and value in allowed
        self.check(good, key, value, f"one of {', '.join(map(str, allowed))}")
        return value

    def fraction(self, key: str) -> Fraction:
        """A number above 0, as numerator and denominator."""
        value = self.take(key)
        good = isinstance(value, list) and len(value) == 2 and all(_whole(part, 1, 2**31 - 1) for part in value)
        self.check(good, key, value, "two whole numbers from 1 to 2147483647")
        return Fraction(*value)

    def wholes(self, key: str, low: int, high: int, least: int, most: int) -> tuple[int, ...]:
        """``least`` to ``most`` whole numbers from ``low`` to ``high``."""
        value = self.take(key)
        good = (
            isinstance(value, list) and least <= len(value) <= most and all(_whole(each, low, high) for each in value)
        )
        count = f"{least}" if least == most else f"{least} to {most}"
        self.check(good, key, value, f"{count} whole numbers from {low} to {high}")
        return tuple(value)

    def shapes(self, key: str, most: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """1 to ``most`` tensors: name, and up to 5 sides from 1 to 2^20; no name twice."""
        value = self.take(key)
        good = isinstance(value, list) and 1 <= len(value) <= most and all(map(_shape, value))
        good = good and len({name for name, _ in value}) == len(value)
        self.check(good, key, value, f"1 to {most} different names, each with up to 5 sides from 1 to {_SIDE}")
        return tuple((name, tuple(sides)) for name, sides in value)

    def ranges(self, key: str, rows: int, columns: int, most: float) -> tuple[tuple[tuple[float, float], ...], ...]:
        """``rows`` times ``columns`` pairs of numbers from ``-most`` to ``most``, the second not below the first."""
        value = self.take(key)
        good = isinstance(value, list) and len(value) == rows
        good = good and all(isinstance(row, list) and len(row) == columns for row in value)
        good = good and all(_range(pair, most) for row in value for pair in row)
        self.check(good, key, value, f"{rows} times {columns} pairs from {-most:g} to {most:g}, none falling")
        return tuple(tuple((float(low), float(high)) for low, high in row) for row in value)


_SIDE = 2**20


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _shape(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    name, sides = value
    named = isinstance(name, str) and re.fullmatch(r"[\w.]{1,200}", name) is not None
    return named and isinstance(sides, list) and len(sides) <= 5 and all(_whole(side, 1, _SIDE) for side in sides)


def _range(value: object, most: float) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
    return numbers and -most <= value[0] <= value[1] <= most
