"""Do cheaper scorers find the same hard patches, and how much cheaper are they?

    python experiments/scorers/agreement.py outputs/<video>/<run> … > agreement.tsv

Reads finished runs that differ in their scorer and prints one line for each pair of runs of one
video, scale and number of chunks. The shortest training will do: `stdo.train -m scorer=bicubic,dct
budget.passes=0.1`.

same, within_one: share of the patches in the same chunk, and at most one chunk apart. spearman:
    rank correlation of the scores. seconds: of the scoring pass over the whole video, empty where
    unknown.
"""

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stdo.chunks.agreement import agreement, spearman
from stdo.core.types import F32, I16, Json, UserError
from stdo.runs.directory import CHUNKS, read_chunks, read_result

COLUMNS = (
    "video",
    "scale",
    "chunks",
    "scorer_a",
    "scorer_b",
    "same",
    "within_one",
    "spearman",
    "seconds_a",
    "seconds_b",
)


@dataclass(frozen=True)
class Scored:
    """What a finished run says of its patches."""

    metrics: Json
    scores_TRC: F32
    labels_TRC: I16

    @property
    def seconds(self) -> str:
        """Of the scoring pass; empty where unknown."""
        spent = self.metrics["seconds"]["score"]
        return "" if spent is None else f"{spent:.3f}"

    @property
    def setting(self) -> tuple[object, ...]:
        """What two runs must have in common to be compared."""
        return (
            self.metrics["video"],
            self.metrics["scale"],
            self.metrics["chunks"],
            self.scores_TRC.shape,
        )


def read(directory: Path) -> Scored:
    """Read one run. Raises UserError when it is not finished or names no scorer."""
    metrics = read_result(directory)
    if "scorer" not in metrics or "score" not in metrics.get("seconds", {}):
        raise UserError(f"run={directory}: was made before runs named their scorer; train it again")
    labels, _ = read_chunks(directory)
    with np.load(directory / CHUNKS, allow_pickle=False) as stored:
        return Scored(metrics, stored["scores"], labels)


def compare(a: Scored, b: Scored) -> list[str]:
    """One line of the table."""
    video, scale, chunks, _ = a.setting
    found = agreement(a.labels_TRC, b.labels_TRC, a.metrics["chunks"])
    shares = [found.same, found.within_one, spearman(a.scores_TRC, b.scores_TRC)]
    names = [a.metrics["scorer"], b.metrics["scorer"]]
    return [
        *map(str, (video, scale, chunks, *names)),
        *(f"{share:.3f}" for share in shares),
        a.seconds,
        b.seconds,
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    try:
        runs = [read(directory) for directory in parser.parse_args().runs]
    except UserError as error:
        parser.error(str(error))
    rows = [compare(a, b) for a, b in itertools.combinations(runs, 2) if a.setting == b.setting]
    if not rows:
        parser.error(
            "no two of these runs have the same video, scale, patches and number of chunks"
        )
    sys.stdout.writelines("\t".join(row) + "\n" for row in [COLUMNS, *rows])


if __name__ == "__main__":
    main()
