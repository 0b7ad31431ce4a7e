"""The number of cores that this process may use, limits of its container included."""

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_cores(groups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """The number of threads that run at the same time here, at least 1.

    ``docker run --cpus=2`` on a machine of 64 cores leaves all 64 visible and runs threads on two
    of them at a time.

    Args:
        groups: Where the kernel shows control groups, version 1 or 2.
        own: The file that names the groups of this process.
    """
    # macOS cannot say on which cores a process may run
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [share for folder in _folders(groups, own) if (share := _share(folder)) is not None]
    return max(1, min([seen, *(math.ceil(share) for share in shares)]))


def _folders(groups: Path, own: Path) -> list[Path]:
    """The folders whose limits hold for this process: of its own group and of all groups
    around it."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    found = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", "", ""][:3]
        inside = Path(path.strip("/"))
        if ".." in inside.parts:  # of a process outside the container that started this one
            inside = Path()
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        for root in (
            (groups, groups / "unified")
            if not controllers
            else (groups / "cpu", groups / controllers)
        ):
            found += [root / part for part in (inside, *inside.parents)]
    return found


def _share(folder: Path) -> float | None:
    """Cores that a group may keep busy; None where it has no limit."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
        share = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such file
        return None
    return share if share > 0 else None
