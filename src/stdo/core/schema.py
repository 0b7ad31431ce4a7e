"""What plain values from a file must be like: small rules that are put together.

A rule takes a value and its place, such as ``metrics.json: psnr.frame``, and raises UserError in one line where the
value is not allowed. Standard library alone.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from stdo.core.foreign import printable
from stdo.core.types import UserError

Rule = Callable[[Any, str], None]

_LONGEST = 60
"""Characters of a bad value that a message shows."""


def refuse(value: object, place: str, allowed: str) -> None:
    """Raise UserError for a value."""
    shown = printable(repr(value)[:_LONGEST])
    raise UserError(f"{printable(place)}={shown}: must be {allowed}")


def text(most: int = 400, pattern: str = "") -> Rule:
    """A text of at most so many characters that matches a regular expression where one is given."""

    def rule(value: Any, place: str) -> None:
        if not isinstance(value, str) or len(value) > most:
            refuse(value, place, f"a text of at most {most} characters")
        if pattern and not re.fullmatch(pattern, value):
            refuse(value, place, f"a text that matches {pattern}")

    return rule


def whole(low: int, high: int) -> Rule:
    """A whole number in a range; a boolean is none."""

    def rule(value: Any, place: str) -> None:
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        if not good:
            refuse(_short(value), place, f"a whole number from {low} to {high}")

    return rule


def number(low: float, high: float) -> Rule:
    """A finite number in a range; a boolean is none."""

    def rule(value: Any, place: str) -> None:
        kind = isinstance(value, int | float) and not isinstance(value, bool)
        if not (kind and low <= value <= high and math.isfinite(value)):
            refuse(_short(value), place, f"a number from {low:g} to {high:g}")

    return rule


def _short(value: object) -> object:
    """A number of thousands of digits cannot be shown."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "(a number of very many digits)"
    return value


def switch(value: Any, place: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        refuse(value, place, "true or false")


def one_of(*allowed: Any) -> Rule:
    """One of some numbers or texts."""

    def rule(value: Any, place: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | str) or value not in allowed:
            refuse(_short(value), place, f"one of {', '.join(map(str, allowed))}")

    return rule


def optional(inner: Rule) -> Rule:
    """Null, or what the rule asks for."""

    def rule(value: Any, place: str) -> None:
        if value is not None:
            inner(value, place)

    return rule


def both(first: Rule, second: Rule) -> Rule:
    """What two rules ask for."""

    def rule(value: Any, place: str) -> None:
        first(value, place)
        second(value, place)

    return rule


def each(inner: Rule, most: int) -> Rule:
    """A list of at most so many values, each as the rule asks for."""

    def rule(value: Any, place: str) -> None:
        if not isinstance(value, list) or len(value) > most:
            refuse(value if not isinstance(value, list) else value[:3], place, f"a list of at most {most}")
        for index, item in enumerate(value):
            inner(item, f"{place}[{index}]")

    return rule


def table(inner: Rule, most: int = 100) -> Rule:
    """An object of at most so many fields of any name, each as the rule asks for."""

    def rule(value: Any, place: str) -> None:
        if not isinstance(value, dict) or len(value) > most or not all(isinstance(key, str) for key in value):
            refuse(value, place, f"an object of at most {most} fields")
        for key, item in value.items():
            inner(item, f"{place}.{key[:_LONGEST]}")

    return rule


def record(known: Mapping[str, Rule], needed: frozenset[str] | set[str] = frozenset()) -> Rule:
    """An object: each known field that it has is as its rule asks for, and none that is needed is missing.

    Fields that are not known pass: other versions write more.
    """

    def rule(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            refuse(value, place, "an object")
        for key in sorted(needed):
            if key not in value:
                raise UserError(f"{printable(place)}: lacks {key}")
        for key, inner in known.items():
            if key in value:
                inner(value[key], f"{place}: {key}" if place.endswith((".json", ".yaml")) else f"{place}.{key}")

    return rule
