"""Writes the tables of docs/inputs.md, from those that the tests run through."""

from pathlib import Path

from bad_videos import CONTENTS, DAMAGE, PLACES, VAST, Bad
from odd_videos import COLOUR, FORMAT, NAME, SHAPE, TIME, UNTAGGED, Odd

PAGE = Path(__file__).parents[2] / "docs" / "inputs.md"
BEGIN, END = "<!-- tables: python tests/video/inputs_page.py -->\n", "<!-- end -->\n"

READ = {
    "Times": TIME,
    "Shape": SHAPE,
    "Colour": COLOUR,
    "Containers and codecs": FORMAT,
    "Names": NAME,
}
REFUSED = {
    "Places": PLACES,
    "Contents": CONTENTS,
    "Vast frames": VAST,
    "Damage, and what changes": DAMAGE,
}


def accepted(title: str, table: dict[str, Odd]) -> list[str]:
    rows = [
        f"| {name} | {odd.yields} | {'; '.join(note for note in odd.notes if note != UNTAGGED)} |"
        for name, odd in table.items()
    ]
    return [f"### {title}", "", "| input | becomes | note |", "|---|---|---|", *rows, ""]


def refused(title: str, table: dict[str, Bad]) -> list[str]:
    rows = [f"| {name} | {bad.says} |" for name, bad in table.items()]
    return [f"### {title}", "", "| input | the line says |", "|---|---|", *rows, ""]


def tables() -> str:
    lines = ["## Read", ""]
    lines += [f'"{UNTAGGED}" is said of every video without such a tag, and left out below.', ""]
    lines += [line for title, table in READ.items() for line in accepted(title, table)]
    lines += ["## Refused", ""]
    lines += [line for title, table in REFUSED.items() for line in refused(title, table)]
    return "\n".join(lines)


def page(text: str) -> str:
    """``text`` with its tables as they should be."""
    return text[: text.index(BEGIN) + len(BEGIN)] + tables() + text[text.index(END) :]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
