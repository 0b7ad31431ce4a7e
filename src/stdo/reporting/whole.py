"""Leave out runs whose files cannot be read, before anything is written."""

from collections.abc import Sequence

from stdo.core.types import UserError
from stdo.reporting.runs import Run, say_left_out


def whole(runs: Sequence[Run], pictures: bool) -> list[Run]:
    """The runs whose tables, maps and crops can be read; each of the others is left out, and said
    on stderr.

    Args:
        runs: As `collect` gives them.
        pictures: Whether the PNG files of the crops are read as well.

    Raises:
        UserError: None is left.
    """
    kept, reasons = [], []
    for run in runs:
        try:
            _read_all(run, pictures)
        except UserError as error:
            reasons.append(str(error))
        else:
            kept.append(run)
    if not kept:
        raise UserError(f"{reasons[0]}; and no other run is left")
    say_left_out(reasons)
    return kept


def _read_all(run: Run, pictures: bool) -> None:
    run.frames()
    run.curve()
    run.maps()
    for crop in run.crops():
        for name in crop["files"] if pictures else ():
            run.picture(crop, name)
