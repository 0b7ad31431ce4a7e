"""Names that tell the runs of a report apart."""

from collections.abc import Sequence

from stdo.reporting.runs import Run


def names(runs: Sequence[Run]) -> list[str]:
    """Every run's name, with the settings that tell it apart from others of its name where there
    are any.

    Runs of one video, scale and backbone that differ in nothing but the seed share it: ``STDO k=4,
    halo 4``.
    """
    alike: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        alike.setdefault((*_place(run), run.name), []).append(run)
    telling = {key: _telling(members) for key, members in alike.items()}
    found = []
    for run in runs:
        keys = telling[(*_place(run), run.name)]
        told = [f"{key.split('.')[-1]} {run.shaping.get(key, 'null')}" for key in keys]
        found.append(", ".join([run.name, *told]))
    return found


def _telling(runs: Sequence[Run]) -> list[str]:
    """Settings, as few as it takes one after the other, that tell apart all runs that differ in
    any."""

    def kinds(keys: Sequence[str]) -> int:
        return len({tuple(run.shaping.get(key) for key in keys) for run in runs})

    keys = sorted(
        {key for run in runs for key in run.shaping}, key=lambda key: (key.count("."), key)
    )
    chosen: list[str] = []
    for key in keys if kinds(keys) > 1 else ():
        if kinds([*chosen, key]) > kinds(chosen):
            chosen.append(key)
    return chosen


def _place(run: Run) -> tuple[object, ...]:
    return run.metrics["video"], run.metrics["scale"], run.metrics["backbone"]
