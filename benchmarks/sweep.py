"""What a sweep costs beside its jobs: wall clock of one sweep, over the seconds that its jobs
themselves report.

    python benchmarks/sweep.py [--passes 20]

Four jobs (two methods, two seeds) on the default clip at 640x360. Start-up, composing
configurations and the closing table are what is left over.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import machine, tsv


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", type=float, default=20)
    options = parser.parse_args()
    print(f"# {machine()}; passes {options.passes:g}")
    tsv("jobs", "sweep_s", "jobs_s", "ratio", "again_s", "decoded")
    sweep = [
        sys.executable, "-m", "stdo.train", "-m", "backbone=espcn", "method=awdnn,jstdo",
        "seed=0,1", f"budget.passes={options.passes}", "video.height=360", "video.every=3",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        walls, decoded = [], 0
        for _ in range(2):  # the second time everything is finished
            began = time.perf_counter()
            done = subprocess.run(sweep, cwd=folder, capture_output=True, text=True, check=True)
            walls.append(time.perf_counter() - began)
            decoded += done.stderr.count("decode: 100%")
        results = [
            json.loads(path.read_text()) for path in Path(folder).glob("outputs/*/*/metrics.json")
        ]
        jobs = sum(
            sum(run["seconds"][part] for part in ("prepare", "train", "evaluate"))
            for run in results
        )
        tsv(
            len(results),
            f"{walls[0]:.1f}",
            f"{jobs:.1f}",
            f"{walls[0] / jobs:.3f}",
            f"{walls[1]:.1f}",
            decoded,
        )


if __name__ == "__main__":
    main()
