"""Plain values against types: what is refused, and the line that says so."""

from fractions import Fraction
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import UNSET, Meta, UnsetType

from stdo.core.checked import FieldError, allowed, checked
from stdo.core.types import UserError

Side = Annotated[int, Meta(ge=1, le=9)]


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    side: Side
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0


class Outer(msgspec.Struct):
    inner: Inner | None = None
    sides: list[Side] = []
    pairs: list[tuple[str, list[Side]]] = []
    table: dict[str, Side | None] = {}
    either: str | Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)] = ""
    name: Annotated[str, Meta(max_length=5, pattern=r"^[a-z]*\Z")] = ""
    point: tuple[Side, Side] | UnsetType = UNSET
    shares: dict[Literal["a", "b"], Fraction] = {}
    rate: Fraction | None = None


BAD: list[tuple[Any, str]] = [
    ([], "f.json=[]: must be an object"),
    ({"inner": {}}, "f.json: inner.side: is missing"),
    ({"inner": {"side": 1, "more": 2}}, "f.json: inner.more: no such field"),
    ({"inner": {"side": 0}}, "f.json: inner.side=0: must be a whole number from 1 to 9"),
    ({"inner": {"side": True}}, "f.json: inner.side=True: must be a whole number from 1 to 9"),
    ({"inner": {"side": 2.0}}, "f.json: inner.side=2.0: must be a whole number from 1 to 9"),
    ({"inner": {"side": 10**400}},
     "f.json: inner.side=(a number of very many digits): must be a whole"),
    ({"inner": {"side": 1, "share": 0}},
     "f.json: inner.share=0: must be a number above 0, at most 1"),
    ({"inner": {"side": 1, "share": float("nan")}},
     "f.json: inner.share=nan: must be a number above 0, at most 1"),
    ({"sides": [1, 2, "x"]}, "f.json: sides[2]='x': must be a whole number from 1 to 9"),
    ({"sides": 3}, "f.json: sides=3: must be a list, each a whole number from 1 to 9"),
    ({"pairs": [["a", [1]], ["b", [1, 10]]]},
     "f.json: pairs[1][1][1]=10: must be a whole number from 1 to 9"),
    ({"pairs": [["a"]]}, "f.json: pairs[0]=['a']: must be a list of 2 values, the first a text"),
    ({"table": {"a": 1, "b": None, "c": 10}},
     "f.json: table.c=10: must be a whole number from 1 to 9, or null"),
    ({"table": {1: 1}}, "f.json: table={1: 1}: must be an object whose fields are texts"),
    ({"either": []}, "f.json: either=[]: must be a text, or a list"),
    ({"either": ["a", 3]}, "f.json: either[1]=3: must be a text"),
    ({"name": "abcdef"}, "f.json: name='abcdef': must be a text of at most 5 characters"),
    ({"name": "ab\n"}, "f.json: name='ab\\n': must be a text of at most 5 characters that matches"),
    ({"name": "\x1b[2J"},
     "f.json: name='\\x1b[2J': must be a text of at most 5 characters that matches [a-z]*"),
    ({"point": None},
     "f.json: point=None: must be a list of 2 values, each a whole number from 1 to 9"),
    ({"point": [1, 10]}, "f.json: point[1]=10: must be a whole number from 1 to 9"),
    ({"shares": {"a": "1/2", "c": "1"}}, "f.json: shares='c': must be one of a, b"),
    ({"shares": {"a": "1/2", "b": "x"}}, "f.json: shares.b='x': must be a fraction"),
    ({"shares": {"\ud800": "1"}},
     "f.json='\\ud800': must be a text without halves of surrogate pairs"),
    ({"rate": "x"}, "f.json: rate='x': must be a fraction"),
    ({"inner": {"side": 1, "": 2}}, "f.json: inner.: no such field"),
    ({"inner": {"side": 1, "x` - at `$.zzz": 2}}, "f.json: inner.x` - at `$.zzz: no such field"),
    ({"inner": {"side": 1, "x` - at `key` in `$.zzz": 2}},
     "f.json: inner.x` - at `key` in `$.zzz: no such field"),
]  # fmt: skip


def share(_: type, told: Any) -> Fraction:
    try:
        return Fraction(told)
    except (TypeError, ValueError) as error:
        raise ValueError("a fraction") from error


@pytest.mark.parametrize(("value", "line"), BAD)
def test_a_bad_value_is_named_with_its_place_and_what_is_allowed(value: Any, line: str) -> None:
    with pytest.raises(UserError) as refused:
        checked(value, Outer, "f.json", share)
    assert str(refused.value).startswith(line)


@pytest.mark.parametrize(
    "name", ["", "x` - at `$.zzz", "x` - at `$.side", "` - at `key` in `$.side", "$", "x`", "\n"]
)
def test_no_name_of_an_unknown_field_is_taken_for_a_place(name: str) -> None:
    with pytest.raises(UserError, match="no such field$") as refused:
        checked({"side": 1, name: 1}, Inner, "f.json")
    assert "\n" not in str(refused.value)


def test_an_error_has_its_parts() -> None:
    with pytest.raises(FieldError) as refused:
        checked({"inner": {"side": 0}}, Outer, "f.json")
    found = refused.value
    assert (found.field, found.value, found.allowed) == (
        "inner.side",
        0,
        "a whole number from 1 to 9",
    )


def test_what_fits_becomes_the_type() -> None:
    found = checked(
        {"inner": {"side": 3, "share": 1}, "pairs": [["a", [1, 2]]], "more": 1}, Outer, "f.json"
    )
    assert found == Outer(Inner(3, 1.0), pairs=[("a", [1, 2])])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Annotated[int, Meta(ge=1)], "a whole number, 1 or more"),
        (Annotated[float, Meta(gt=0)], "a number above 0"),
        (Annotated[float, Meta(ge=0, lt=1)], "a number, 0 or more, below 1"),
        (Annotated[float, Meta(ge=0, le=0.5)], "a number from 0 to 0.5"),
        (bool, "true or false"),
        (Literal[2, 3, 4], "one of 2, 3, 4"),
        (Annotated[str, Meta(min_length=1)] | None, "a text, or null"),
        (Annotated[str, Meta(min_length=2)], "a text of 2 characters or more"),
        (
            Annotated[list[int], Meta(min_length=1, max_length=3)],
            "a list of 1 to 3 values, each a whole number",
        ),
        (
            Annotated[list[bool], Meta(min_length=1)],
            "a list of 1 value or more, each true or false",
        ),
        (dict[str, int], "an object"),
        (tuple[int, int, int], "a list of 3 values, each a whole number"),
        (tuple[str, int], "a list of 2 values, the first a text"),
        (Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")], "a text that matches [0-9a-f]{64}"),
    ],
)
def test_types_in_words(kind: Any, words: str) -> None:
    assert allowed(kind) == words
