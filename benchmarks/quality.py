"""PSNR against seconds and against patches shown, for each method, beside bicubic.

    python benchmarks/quality.py [--passes 1 4 16] [--methods awdnn nas]
                                 [--video clip.mp4] [--quick]

Whole runs through the door, of ESPCN in 4 chunks on 24 frames of 360 rows; equal presentations for
all methods.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from common import machine, note, options, tsv

METHODS = ["awdnn", "nas", "cafm", "repcam", "eps", "stdo", "jstdo", "bstdo"]


def main() -> None:
    """Print the table."""
    chosen = options(__doc__, passes=[1.0, 4.0, 16.0], methods=METHODS, video=None)
    passes = chosen.passes[:2] if chosen.quick else chosen.passes
    fixed = [
        "backbone=espcn",
        "chunks=4",
        "video.height=360",
        "video.every=5",
        "video.max_frames=24",
        "trainer=cpu",
    ]
    fixed += [f"video.path={Path(chosen.video).absolute()}"] if chosen.video else []
    with tempfile.TemporaryDirectory() as folder:
        for method in chosen.methods:
            for length in passes:
                note(method, length)
                command = [
                    sys.executable,
                    "-m",
                    "stdo.train",
                    *fixed,
                    f"method={method}",
                    f"budget.passes={length}",
                ]
                subprocess.run(command, cwd=folder, check=True, capture_output=True)
        found = [
            json.loads(path.read_text()) for path in Path(folder).glob("outputs/*/*/metrics.json")
        ]
    print(f"# {machine()}; espcn x4, 4 chunks, video {found[0]['video']}")
    tsv("method", "passes", "presentations", "train_s", "psnr", "over_bicubic")
    for run in sorted(
        found, key=lambda run: (chosen.methods.index(run["method"]), run["patch_presentations"])
    ):
        psnr, gain = run["psnr"]["frame"], run["psnr"]["frame"] - run["bicubic"]["psnr"]["frame"]
        shown = run["patch_presentations"]
        tsv(
            run["method"],
            f"{run['passes']:g}",
            shown,
            f"{run['seconds']['train']:.1f}",
            f"{psnr:.2f}",
            f"{gain:+.2f}",
        )


if __name__ == "__main__":
    main()
