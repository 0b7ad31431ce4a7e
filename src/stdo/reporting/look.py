"""Colour and marker of each method in every plot and page.

The colours keep their distance for people who see red, green or blue poorly, and stand out from the
background at 3:1 or more; tests/reporting/test_look.py measures both. Shapes say the same again.
"""

from dataclasses import dataclass
from zlib import crc32


@dataclass(frozen=True)
class Look:
    """colour: on white. dark: on a dark page. marker: as matplotlib names it."""

    colour: str
    dark: str
    marker: str


LOOKS = {
    "awdnn": Look("#4a4d54", "#a2a7b3", "o"),
    "nas": Look("#00a066", "#30e8a8", "s"),
    "cafm": Look("#a8579b", "#c04aa8", "D"),
    "repcam": Look("#59157b", "#e8ecfa", "P"),
    "eps": Look("#b34626", "#d79562", ">"),
    "srvc": Look("#8108ff", "#6e43fe", "d"),
    "emt": Look("#2b0fa8", "#b4ff87", "8"),
    "livenas": Look("#080608", "#e9e207", "H"),
    "stdo": Look("#0064d6", "#3d86ff", "^"),
    "jstdo": Look("#f05a00", "#ee6a1a", "v"),
    "bstdo": Look("#6d1401", "#896a52", "<"),
}
"""The methods with a look of their own, by their name in metrics.json."""

OTHERS = (
    Look("#8a6d00", "#e0c020", "X"),
    Look("#b3123c", "#ff7a9a", "p"),
    Look("#00808f", "#4fd3e0", "h"),
    Look("#6b5b4b", "#cbb8a3", "*"),
)
"""For methods that are not in `LOOKS`."""

BICUBIC = Look("#80858c", "#8d939d", "_")


def look(method: str) -> Look:
    """The look of a method, by its name in metrics.json; always the same one for the same name."""
    return LOOKS.get(method) or OTHERS[crc32(method.encode()) % len(OTHERS)]
