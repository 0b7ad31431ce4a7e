"""What this machine can do at best: matrix products, the convolutions of each backbone, copying
memory, decoding.

    python benchmarks/limits.py [--size 1024] [--quick]

Every other benchmark is to be read against these. Convolutions are each backbone's own, forwards,
on a batch of 16 patches of the paper's size; their rate counts a multiplication and its addition as
two operations.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from common import clip, machine, median_seconds, note, options, tsv
from stdo.models.cost import count
from stdo.models.registry import BACKBONES, build

SCALE, BATCH = 4, 16
PATCH = 54, 48


def products(size: int) -> dict[str, Callable[[], object]]:
    """Square matrix products in the precisions that networks use."""
    one, other = torch.rand(2, size, size)
    small = [(matrix * 100).to(torch.int8) for matrix in (one, other)]
    return {
        "fp32": partial(torch.mm, one, other),
        "bf16": partial(torch.mm, one.bfloat16(), other.bfloat16()),
        "int8": partial(torch._int_mm, *small),
    }


def forwards(name: str, precision: torch.dtype) -> Callable[[], object]:
    """One batch through a backbone."""
    network = build(name, SCALE).to(memory_format=torch.channels_last).eval()
    patches = torch.rand(BATCH, 3, *PATCH).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            network(patches)

    return work


def main() -> None:
    """Print the table."""
    chosen = options(__doc__, size=1024, video=None)
    repeats = 3 if chosen.quick else 9
    print(f"# {machine()}; {torch.get_num_threads()} threads")
    tsv("what", "precision", "rate", "unit")
    for precision, work in products(chosen.size).items():
        tsv(
            "matrix product",
            precision,
            f"{2 * chosen.size**3 / median_seconds(work, repeats) / 1e9:.0f}",
            "Gop/s",
        )
    for name in BACKBONES:
        note(name)
        operations = 2 * BATCH * count(name, SCALE, *PATCH).macs
        for precision in (torch.float32, torch.bfloat16):
            seconds = median_seconds(forwards(name, precision), repeats)
            tsv(
                f"{name} x{SCALE}",
                str(precision).removeprefix("torch."),
                f"{operations / seconds / 1e9:.0f}",
                "Gop/s",
            )
    source, target = np.ones(1 << 28, np.uint8), np.empty(1 << 28, np.uint8)
    tsv(
        "memory copy",
        "",
        f"{source.nbytes / median_seconds(partial(np.copyto, target, source), repeats) / 1e9:.1f}",
        "GB/s",
    )
    with tempfile.TemporaryDirectory() as folder:
        frames = 24 if chosen.quick else 96
        video = clip(chosen.video, 1080, frames, Path(folder))
        seconds = median_seconds(lambda: [None for _ in video], repeats)
        tsv("decode 1080p to RGB", "", f"{frames / seconds:.0f}", "frames/s")


if __name__ == "__main__":
    main()
