"""Plain values from a file or a command line, checked against a type by msgspec, refused in one
line.

A type is written as msgspec reads it: ``Annotated[int, Meta(ge=1, le=16)]``, ``Literal[2, 3, 4]``,
a Struct. The line that refuses a value names the place, the value, and what the type allows there.
"""

import re
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import UnsetType, inspect, structs

from stdo.core.foreign import printable
from stdo.core.types import UserError

Checked = TypeVar("Checked")
Hook = Callable[[type, Any], Any]
LONGEST = 60
"""Characters of a bad value that a message shows."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
"""Steps of a place as msgspec writes it. It writes ``[...]`` for a value of a dict, whatever its
key."""
_WHERE = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>\$[^`]*)`)?", re.DOTALL)
_FIELD = re.compile(
    r"Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL
)


class FieldError(UserError):
    """A value that is not allowed where it stands.

    Attributes:
        field: Its place, such as ``source.width``.
        value: As it is.
        allowed: What it must be, in words.
    """

    def __init__(self, file: str, field: str, value: object, allowed: str) -> None:
        start = f"{file}: {field}" if field else file
        super().__init__(f"{printable(start)}={shown(value)}: must be {allowed}")
        self.field, self.value, self.allowed = field, value, allowed


def checked(value: Any, kind: type[Checked] | Any, file: str, hook: Hook | None = None) -> Checked:
    """Make a value of a type of plain values.

    Args:
        value: dicts, lists, texts, numbers, booleans, None. No number is taken for another kind of
            number, nor a boolean for a number; a whole number serves as a float.
        kind: The type, with its ranges.
        file: What the line calls the file, or the setting: ``manifest.json``.
        hook: Makes values of types that msgspec does not know, of a type and a plain value; raises
            ValueError with what is allowed.

    Returns:
        The value, Structs in place of dicts.

    Raises:
        FieldError: Something is of another type or out of its range.
        UserError: A field is missing or unknown.
    """
    try:
        return cast("Checked", msgspec.convert(value, kind, strict=True, dec_hook=hook))
    except UnicodeEncodeError as error:  # msgspec compares texts as UTF-8
        raise refused(file, "", error.object, "a text without halves of surrogate pairs") from error
    except msgspec.ValidationError as error:
        raise _refusal(value, kind, file, hook, str(error)) from error


def refused(file: str, place: str, value: object, allowed: str) -> FieldError:
    """The error for a value that its type lets pass and that is still not allowed.

    >>> str(refused("manifest.json", "lr.width", 34, "35"))
    'manifest.json: lr.width=34: must be 35'
    """
    return FieldError(file, place, value, allowed)


def shown(value: object) -> str:
    """A bad value as a message shows it: short, and without what steers a terminal."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "(a number of very many digits)"
    if isinstance(value, list | tuple):
        value = value[:3]
    return printable(repr(value)[:LONGEST])


def allowed(kind: Any) -> str:
    """What a type allows, in words.

    >>> from typing import Annotated, Literal
    >>> allowed(Annotated[int, msgspec.Meta(ge=1, le=16)] | None)
    'a whole number from 1 to 16, or null'
    >>> allowed(Literal["none", "bicubic"])
    'one of bicubic, none'
    """
    return _words(inspect.type_info(kind))


def _refusal(value: Any, kind: Any, file: str, hook: Hook | None, error: str) -> UserError:
    """What a message of msgspec's says, in our words: place, value, what is allowed."""
    fault = _FIELD.fullmatch(error)
    # A name may look like the end of a message
    if fault and isinstance(value, dict) and fault["name"] in value:
        return _no_field(file, fault["name"], "no such field")
    found = _WHERE.fullmatch(error)
    assert found is not None
    place, bad = "", value
    for field, index in _STEP.findall(found["path"] or "$"):
        step, bad, kind = _inside(bad, kind, field or index, hook)
        place += step
    place = place.lstrip(".")[: 2 * LONGEST]

    fault = _FIELD.fullmatch(found["what"])
    if fault:
        missing = fault["fault"].startswith("missing")
        return _no_field(
            file,
            f"{place}.{fault['name']}".lstrip("."),
            "is missing" if missing else "no such field",
        )
    if found["key"]:
        keys = get_args(_part(kind, bad))[0]
        key = next(key for key in bad if not _fits(key, keys))
        named = isinstance(key, str)
        return refused(
            file,
            place,
            key if named else bad,
            allowed(keys) if named else "an object whose fields are texts",
        )
    node = inspect.type_info(kind)
    nodes = node.types if isinstance(node, inspect.UnionType) else (node,)
    # Of a type of our own, the hook says what is allowed
    own = any(isinstance(each, inspect.CustomType) for each in nodes)
    return refused(file, place, bad, found["what"] if own else allowed(kind))


def _no_field(file: str, name: str, what: str) -> UserError:
    return UserError(printable(f"{file}: {name[:LONGEST] or repr(name)}: {what}"))


def _inside(value: Any, kind: Any, step: str, hook: Hook | None) -> tuple[str, Any, Any]:
    """One step into a value and its type: how the place goes on, the value there, its type."""
    kind = _part(kind, value)
    if isinstance(value, dict):
        if get_origin(kind) is dict:
            inner = get_args(kind)[1]
            key = next(key for key, item in value.items() if not _fits(item, inner, hook))
            return f".{key}", value[key], inner
        fields = {each.encode_name: each.type for each in structs.fields(kind)}
        return f".{step}", value[step], fields[step]
    place, inner = int(step), get_args(kind)
    one_for_all = get_origin(kind) is list or inner[-1] is ...
    return f"[{place}]", value[place], inner[0] if one_for_all else inner[place]


def _part(kind: Any, value: Any) -> Any:
    """A type without its ranges; of a union, the type that a value of several parts was
    tried as."""
    if get_origin(kind) is Annotated:
        return _part(get_args(kind)[0], value)
    if not isinstance(kind, UnionType) and get_origin(kind) is not Union:
        return kind
    parts = [_part(each, value) for each in get_args(kind)]
    lists = (list, tuple)
    wanted = [each for each in parts if (get_origin(each) in lists) == isinstance(value, list)]
    return next(
        each
        for each in wanted
        if each not in (NoneType, UnsetType) and not isinstance(each, UnionType)
    )


def _fits(value: Any, kind: Any, hook: Hook | None = None) -> bool:
    try:
        msgspec.convert(value, kind, strict=True, dec_hook=hook)
    except msgspec.ValidationError:
        return False
    return True


def _words(node: inspect.Type) -> str:
    if isinstance(node, inspect.NoneType | inspect.BoolType):
        return "null" if isinstance(node, inspect.NoneType) else "true or false"
    if isinstance(node, inspect.UnionType):
        return ", or ".join(map(_words, node.types))
    if isinstance(node, inspect.TupleType):
        first, *others = map(_words, node.item_types)
        each = "each" if all(words == first for words in others) else "the first"
        return f"a list of {len(others) + 1} values, {each} {first}"
    if isinstance(node, inspect.CollectionType):
        return f"a list{_length(node, 'values')}, each {_words(node.item_type)}"
    return _plain_words(node)


def _plain_words(node: inspect.Type) -> str:
    """Of a type that has no other inside."""
    match node:
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, node.values))}"
        case inspect.IntType():
            return f"a whole number{_range(node)}"
        case inspect.FloatType():
            return f"a number{_range(node)}"
        case inspect.StrType():
            whole = (node.pattern or "").removeprefix("^").removesuffix(r"\Z")
            matches = f" that matches {whole}" if whole else ""
            return f"a text{_length(node, 'characters')}{matches}"
        case _:
            return "an object"


def _range(node: inspect.IntType | inspect.FloatType) -> str:
    low, high = node.ge, node.le
    if low is not None and high is not None:
        return (
            f" from {low:g} to {high:g}"
            if isinstance(node, inspect.FloatType)
            else f" from {low} to {high}"
        )
    above = f" above {node.gt:g}" if node.gt is not None else ""
    least = f", {low:g} or more" if low is not None else ""
    most = f", at most {high:g}" if high is not None else ""
    below = f", below {node.lt:g}" if node.lt is not None else ""
    return above + least + most + below


def _length(node: inspect.StrType | inspect.CollectionType, unit: str) -> str:
    least, most = node.min_length or 0, node.max_length
    if most is not None:
        return f" of at most {most} {unit}" if not least else f" of {least} to {most} {unit}"
    # A text of one character or more is just a text
    counts = least > 1 or (least == 1 and unit == "values")
    return f" of {least} {unit[:-1] if least == 1 else unit} or more" if counts else ""
