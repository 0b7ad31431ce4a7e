"""What the schema knows of one setting, and the types that settings have."""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from stdo.core.checked import allowed
from stdo.core.plugins import NAME


class Role(Enum):
    """What a setting means for the result of a run."""

    CONDITION = "shapes the result; equal in runs whose methods are compared"
    METHOD = "shapes the result; may differ between methods that are compared"
    SEED = "shapes the result; runs that differ in it alone are repetitions"
    NONE = "does not change the result"


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        kind: Its type and range, as msgspec reads it.
        help: One line.
        role: What it means for the result; None: what its group means.
        former: Its last word before; still taken, with a note.
        path: Whether it names a file or folder, or several: ``~`` is the home.
        numbers: Whether a list must hold one number for each chunk, not all 0.
        neutral: Values with which it does nothing: the run is the same as without it.
    """

    kind: Any
    help: str
    role: Role | None = None
    former: str | None = None
    path: bool = False
    numbers: bool = False
    neutral: tuple[Any, ...] = (None,)

    def accepts(self, value: Any) -> bool:
        """Whether a value is of the type and in the range."""
        try:
            msgspec.convert(value, self.kind, strict=True)
        except (msgspec.ValidationError, UnicodeEncodeError):
            # The second: of names that are no UTF-8
            return False
        if self.numbers and value is not None:
            return any(value) and all(map(math.isfinite, value))
        return not isinstance(value, float) or math.isfinite(value)

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        words = allowed(self.kind)
        for pattern, name in _IN_WORDS.items():
            matching = pattern.removeprefix("^").removesuffix(r"\Z")
            words = words.replace(f"a text that matches {matching}", name)
        return words + (", not all 0" if self.numbers else "")


Text = Annotated[str, Meta(min_length=1)]
_WORD = r"^[\w.:+-]+\Z"
Word = Annotated[str, Meta(pattern=_WORD)]
"""The name of a choice: no text that a user makes up, so that ``a,b`` are two of them."""
_PACKAGE = rf"^{NAME}\Z"
Package = Annotated[str, Meta(pattern=_PACKAGE)]
_LOSS = rf"^(l1|l2|{NAME}:\w+)\Z"
Loss = Annotated[str, Meta(pattern=_LOSS)]
_SHARD = r"^[1-9]\d{0,5}/[1-9]\d{0,5}\Z"
Shard = Annotated[str, Meta(pattern=_SHARD)]
_IN_WORDS = {
    _WORD: "a word",
    _PACKAGE: "the name of a package",
    _SHARD: "a shard such as 3/64",
    _LOSS: "l1, l2 or package.module:function",
}
"""What a text that matches is called."""
Texts = Annotated[list[Text], Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(gt=0, le=1)]
BelowOne = Annotated[float, Meta(ge=0, lt=1)]
Below = Annotated[float, Meta(gt=0, lt=1)]
Natural = Annotated[int, Meta(ge=0)]
Shares = list[Annotated[float, Meta(ge=0, le=1)]]
Numbers = list[NotNegative]
Size = Count | Annotated[float, Meta(gt=0, le=1)]
