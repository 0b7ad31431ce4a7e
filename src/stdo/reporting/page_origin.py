"""Where the runs of a report come from: their commands, commits and machines."""

from collections import Counter
from collections.abc import Sequence

from stdo.provenance import as_typed
from stdo.reporting.runs import Run
from stdo.types import Json

DIFF_LIMIT = 200_000
"""Characters of uncommitted changes that a page shows of one run."""


def origin(run: Run) -> Json:
    """Command, commit with uncommitted changes, versions and machine of one run."""
    found = run.provenance
    diff = found.get("diff")
    if diff and len(diff) > DIFF_LIMIT:
        diff = f"{diff[:DIFF_LIMIT]}\n… cut here: {len(diff) - DIFF_LIMIT} more characters in provenance.json"
    versions = {"stdo": found.get("stdo"), "python": found.get("python"), **found.get("packages", {})}
    return {
        "command": as_typed(found.get("command", [])),
        "started": found.get("started"),
        "commit": found.get("commit"),
        "diff": diff or None,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "machine": machine(run),
        "system": found.get("machine", {}).get("system"),
    }


def machine(run: Run) -> str:
    """Processor, cores, and the device that trained where it was another."""
    found = run.provenance.get("machine", {})
    cores = found.get("cores")
    parts = [found.get("processor") or "unknown processor", f"{cores} cores" if cores else ""]
    device = str(run.metrics["device"])
    return ", ".join(part for part in [*parts, "" if device == "cpu" else device] if part)


def origin_notes(runs: Sequence[Run]) -> list[Json]:
    """What a reader must know before comparing: commits, uncommitted changes, machines. ``warn`` marks doubts."""
    commits = Counter((run.provenance.get("commit") or "unknown")[:10] for run in runs)
    dirty = sum(bool(run.provenance.get("diff")) for run in runs)
    machines = Counter(map(machine, runs))
    notes = [_several("commit", commits), _several("machine", machines)]
    if dirty:
        every = "All runs were" if dirty == len(runs) else f"{dirty} of {len(runs)} runs were"
        notes.append({"warn": True, "text": f"{every} made with uncommitted changes (see each run's details)."})
    return notes


def _several(what: str, count: Counter[str]) -> Json:
    if len(count) == 1:
        return {"warn": "unknown" in count, "text": f"All runs: {what} {next(iter(count))}."}
    listed = ", ".join(f"{name} ({_runs(number)})" for name, number in count.most_common())
    return {"warn": True, "text": f"Runs of {len(count)} different {what}s: {listed}."}


def _runs(number: int) -> str:
    return f"{number} run" if number == 1 else f"{number} runs"
