"""Commands, commits and machines of the runs of a report."""

from collections import Counter
from collections.abc import Sequence

from stdo.core.provenance import as_typed
from stdo.core.types import Json
from stdo.reporting.publish import published
from stdo.reporting.runs import Run

DIFF_LIMIT = 200_000
"""Characters of uncommitted changes that a page shows of one run."""


def origin(run: Run, private: bool = False) -> Json:
    """Command, commit, versions and start of one run.

    Args:
        run: The run.
        private: Whether whole paths, uncommitted changes, processor and kernel are told as well.
    """
    found = run.provenance
    versions = {
        "stdo": found.get("stdo"),
        "python": found.get("python"),
        **(found.get("packages") or {}),
    }
    words = found.get("command") or []
    told = {
        "command": as_typed(words if private else published(words)),
        "started": found.get("started"),
        "commit": found.get("commit"),
        "dirty": bool(found.get("diff")),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "diff": None,
        "machine": None,
        "system": None,
    }
    if private:
        system = (found.get("machine") or {}).get("system")
        told |= {"diff": _shortened(found.get("diff")), "machine": machine(run), "system": system}
    return told


def _shortened(diff: str | None) -> str | None:
    if diff and len(diff) > DIFF_LIMIT:
        return (
            f"{diff[:DIFF_LIMIT]}\n… cut here: {len(diff) - DIFF_LIMIT} more characters in "
            "provenance.json"
        )
    return diff or None


def machine(run: Run) -> str:
    """Processor, cores, and the device that trained where it was another."""
    found = run.provenance.get("machine") or {}
    cores = found.get("cores")
    parts = [found.get("processor") or "unknown processor", f"{cores} cores" if cores else ""]
    device = str(run.metrics["device"])
    return ", ".join(part for part in [*parts, "" if device == "cpu" else device] if part)


def origin_notes(runs: Sequence[Run], private: bool = False) -> list[Json]:
    """What a reader must know before comparing: commits, uncommitted changes, machines. ``warn``
    marks doubts.

    Args:
        runs: All that are in the report.
        private: Whether the machines are named.
    """
    commits = Counter((run.provenance.get("commit") or "unknown")[:10] for run in runs)
    dirty = sum(bool(run.provenance.get("diff")) for run in runs)
    machines = Counter(map(machine, runs))
    notes = [
        _several("commit", commits),
        _several("machine", machines) if private else _of_machines(machines),
    ]
    if dirty:
        every = "All runs were" if dirty == len(runs) else f"{dirty} of {len(runs)} runs were"
        notes.append(
            {
                "warn": True,
                "text": f"{every} made with uncommitted changes (see each run's details).",
            }
        )
    return notes


def _of_machines(machines: Counter[str]) -> Json:
    """Whether seconds can be compared, without a name."""
    if len(machines) == 1:
        return {"warn": False, "text": "All runs: machines of one kind."}
    return {
        "warn": True,
        "text": f"Runs of {len(machines)} different machines: their seconds do not compare.",
    }


def _several(what: str, count: Counter[str]) -> Json:
    if len(count) == 1:
        return {"warn": "unknown" in count, "text": f"All runs: {what} {next(iter(count))}."}
    listed = ", ".join(f"{name} ({_runs(number)})" for name, number in count.most_common())
    return {"warn": True, "text": f"Runs of {len(count)} different {what}s: {listed}."}


def _runs(number: int) -> str:
    return f"{number} run" if number == 1 else f"{number} runs"
