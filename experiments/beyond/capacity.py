"""Quality against operations: python experiments/beyond/capacity.py RUNS… — see
docs/decisions/0019-mixed-capacity.md.

Draws capacity.png and writes capacity.tsv beside this file, from finished runs of one clip length
and budget: runs of the same number of chunks that bicubic serves are joined.
"""

import sys
from pathlib import Path

from stdo.core.types import Json
from stdo.reporting.charts import lines
from stdo.reporting.plots import save
from stdo.reporting.results import rows, write_tsv
from stdo.reporting.runs import collect

HERE = Path(__file__).parent
LABEL = "chunks left to bicubic"


def points(table: list[Json]) -> list[Json]:
    """Rows such that a clip is a panel, whatever the network's width, and every run a point."""
    drawn = []
    for row in table:
        name, bicubic = row["backbone"].partition("-")[0], row["bicubic_chunks"] or 0
        place = {"run": f"{row['backbone']}, {bicubic} bicubic", "backbone": "ESPCN and ECBSR"}
        looks = {"method": row["method"] if name == "espcn" else name}  # a colour of its own
        drawn.append(row | place | looks | {"network": name, LABEL: bicubic})
    return sorted(drawn, key=lambda row: (row["network"] != "espcn", row[LABEL]))


def main(folders: list[str]) -> None:
    """Read the runs in these folders, draw and write."""
    runs = collect(map(Path, folders))
    title = "Operations of a frame: narrower networks, and bicubic for the easiest of four chunks"
    figure = lines(points(rows(runs)), "macs_per_frame", by=["network", LABEL], title=title)
    save(HERE / "capacity.png", figure)
    write_tsv(HERE / "capacity.tsv", runs)


if __name__ == "__main__":
    main(sys.argv[1:])
