"""What the files of a run directory hold: a schema for each.

Another version may write more, so fields that are not known pass. `stdo.runs.files` reads the files.
"""

from stdo.core.schema import Rule, both, each, number, one_of, optional, record, table, text, whole
from stdo.core.types import SCALES

DELIVERED = ("bytes", "bitrate_kbps", "delivered")
"""What delivering a run adds to its result."""

MAX_SIDE = 1024
"""Pixels of a side of a crop."""

_COUNT = whole(0, 2**53)
_DB, _SHARE = optional(number(-1000, 1000)), optional(number(-2, 2))
_PROTOCOLS = dict.fromkeys(("pooled", "stdo_patch", "cafm_frame", "y"), _DB)
_PSNR = record({"frame": number(-1000, 1000), **_PROTOCOLS}, {"frame"})
_SEAMS = ("border", "inside")
_FIGURES: dict[str, Rule] = {"psnr": _PSNR, "ssim": _SHARE, "seams": record(dict.fromkeys(_SEAMS, _DB), set(_SEAMS))}
_BICUBIC = {**_FIGURES, "psnr": table(_DB)}
_SECONDS = optional(number(0, 1e12))
_NUMBERS = optional(each(number(-1e15, 1e15), 32767))
_DEVICE = text(40, r"(cpu|cuda|mps|xla|hpu|xpu)(:\d{1,3})?")

METRICS: dict[str, Rule] = {
    **dict.fromkeys(("video", "scorer"), text()),
    **dict.fromkeys(("backbone", "residual", "precision", "chunking", "sharing", "sampler", "init"), text(100)),
    "method": text(60),
    "study": optional(text()),
    "device": _DEVICE,
    "scale": one_of(*SCALES),
    "chunks": whole(1, 32767),
    "network": optional(whole(0, 32767)),
    "bicubic_chunks": whole(0, 32767),
    "seed": whole(0, 2**32 - 1),
    "frames": whole(1, 2**31),
    **dict.fromkeys(("width", "height"), whole(1, 2**20)),
    **dict.fromkeys(("patches", "batch", "patch_presentations"), whole(1, 2**53)),
    **dict.fromkeys(("steps", "params", "params_base", "params_per_chunk", "macs_per_frame"), _COUNT),
    "passes": number(0, 1e9),
    **_FIGURES,
    "bicubic": record(_BICUBIC, {"psnr", "ssim"}),
    "chunk_psnr": each(_DB, 32767),
    **dict.fromkeys(("chunk_patches", "chunk_presentations", "ratios", "weights", "work"), _NUMBERS),
    "seconds": both(table(_SECONDS), record({"train": number(0, 1e12)}, {"train"})),
    "bytes": table(_COUNT),
    "bitrate_kbps": number(0, 1e12),
    "delivered": record(
        {
            "bits": whole(1, 32),
            "codec": text(40),
            "crf": optional(number(-1000, 1000)),
            "psnr": _PSNR,
            "ssim": _SHARE,
        },
        {"bits", "psnr"},
    ),
}
"""What the fields of metrics.json that we read are like."""

NEEDED = {
    "video", "method", "backbone", "scale", "chunks", "frames", "width", "height", "psnr", "ssim", "bicubic",
    "chunk_psnr", "params", "macs_per_frame", "patch_presentations", "seconds", "device",
}  # fmt: skip
"""What metrics.json must hold for a run to be measured, packed or exported again."""

FACTS = METRICS | dict.fromkeys(("train_seconds", "score_seconds"), _SECONDS)
_PLACE, _PIXELS = whole(0, 2**31), whole(1, MAX_SIDE)
_FILES = dict.fromkeys(("truth", "bicubic", "ours"), text(100, r"[^/\0]+"))
_CROP: dict[str, Rule] = {
    **dict.fromkeys(("frame", "row", "col", "top", "left"), _PLACE),
    **dict.fromkeys(("height", "width"), _PIXELS),
    **dict.fromkeys(("bicubic", "ours"), number(-1000, 1000)),
    "why": text(60),
    "files": record(_FILES, set(_FILES)),
}
CROPS = each(record(_CROP, set(_CROP) - {"row", "col"}), 100)
_WORD = optional(text(100_000))
PROVENANCE = record(
    {
        "command": optional(each(text(100_000), 10_000)),
        **dict.fromkeys(("started", "stdo", "python", "commit"), optional(text())),
        "packages": table(optional(text())),
        "machine": record(
            {**dict.fromkeys(("system", "processor", "accelerator"), _WORD), "cores": optional(whole(0, 2**20))}
        ),
        "diff": optional(text(1 << 24)),
    }
)
_JOB = record({**dict.fromkeys(("command", "status", "error"), _WORD), "directory": _WORD}, {"directory"})
SWEEP = record({"study": optional(text()), "jobs": each(_JOB, 100_000)}, {"jobs"})
_WEIGHTED = optional(record(dict.fromkeys(("ratios", "weights"), _NUMBERS)))
SETTINGS = record(
    {
        "sampler": _WEIGHTED,
        "degrade": optional(record({"codec": optional(text(40)), "crf": optional(number(-1000, 1000))})),
        "patches": optional(record(dict.fromkeys(("height", "width", "halo"), optional(whole(0, 2**20))))),
    }
)
