"""How many cores a process may use: the ones it sees, and its container's share of them."""

import os
from pathlib import Path

import pytest

from stdo.core.cores import usable_cores

SEEN = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

# own file of /proc, files of the control groups, cores of 64
GROUPS = {
    "version 2, two cores": ("0::/docker/x\n", {"docker/x/cpu.max": "200000 100000\n"}, 2),
    "version 2, one and a half": ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
    "version 2, a tenth": ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
    "version 2, no limit": ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
    "version 2, the group around it": (
        "0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 1"}, 3,
    ),
    "version 1, two cores": (
        "4:memory:/x\n3:cpu,cpuacct:/x\n",
        {
            "cpu,cpuacct/x/cpu.cfs_quota_us": "200000\n",
            "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
        },
        2,
    ),
    "version 1, no limit": (
        "3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64,
    ),
    "seen from outside": ("0::/../../x\n", {"cpu.max": "400000 100000"}, 4),
    "another controller": ("4:memory:/\n", {"memory/cpu.max": "100000 100000"}, 64),
    "nonsense": ("0::/\n", {"cpu.max": "a lot\n"}, 64),
    "a period of nothing": ("0::/\n", {"cpu.max": "1 0\n"}, 64),
    "nothing": ("", {}, 64),
}  # fmt: skip


@pytest.mark.parametrize("kind", GROUPS)
def test_no_more_than_the_containers_share(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, files, expected = GROUPS[kind]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    (tmp_path / "own").write_text(told)
    for name, content in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(content)
    assert usable_cores(tmp_path / "groups", tmp_path / "own") == expected


def test_where_the_scheduler_cannot_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert usable_cores(tmp_path, tmp_path / "none") == os.cpu_count()
    assert usable_cores() >= 1


def test_here(tmp_path: Path) -> None:
    assert 1 <= usable_cores() <= SEEN
