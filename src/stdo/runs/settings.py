"""Schema of settings: type, range, help and effect on the result, once for each.

Checks, ``--help``, the name of a run directory and what makes two runs comparable all follow from
`SETTINGS`. The defaults stand in conf/. Settings that are not here, such as those of a backbone of
your own, pass unchecked and count as shaping the result.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from stdo.core.types import UserError
from stdo.metrics.registry import OPTIONAL, PROTOCOLS
from stdo.runs.catalogue_settings import CATALOGUE
from stdo.runs.chain_settings import SHARING
from stdo.runs.sampler_settings import SAMPLER
from stdo.runs.setting import (
    Below,
    BelowOne,
    Count,
    Loss,
    Natural,
    NotNegative,
    Package,
    Positive,
    Role,
    Setting,
    Share,
    Size,
    Text,
    Texts,
    Word,
)

_OptionalMetric: Any = Literal[OPTIONAL]
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
SAMPLERS = ("sampler", "init.sampler")
"""Where a configuration has a sampler: of the networks of the chunks, and of the network that is
trained first."""

GROUPS: dict[str, Role] = {
    **dict.fromkeys(
        ("chunking", "sharing", "sampler", "scorer", "budget", "optim", "init", "callbacks"),
        Role.METHOD,
    ),
    **dict.fromkeys(
        ("paths", "trainer", "logger", "weights", "passes_at", "plot", "hydra"), Role.NONE
    ),
    "video._target_": Role.NONE,  # frames are known by their content
    **dict.fromkeys(("backbone.quick", "backbone.paper"), Role.NONE),  # of runs of before
}
"""What the settings of a group mean for the result where they do not say otherwise; else they are
conditions."""

_SHORTER = "; marks the run as shortened"
_TRAINER = {
    "gradient_clip_val": Setting(
        NotNegative | None, "largest gradient of a step", Role.METHOD, neutral=(None, 0, 0.0)
    ),
    "gradient_clip_algorithm": Setting(
        Literal["norm", "value"] | None, "clip the norm, or each weight's gradient", Role.METHOD
    ),
    "accumulate_grad_batches": Setting(
        Count | None, "batches whose gradients make one step", Role.METHOD, neutral=(None, 1)
    ),
    "max_steps": Setting(
        Literal[-1] | Count | None, f"most steps{_SHORTER}", Role.CONDITION, neutral=(None, -1)
    ),
    "limit_train_batches": Setting(
        Size | None, f"steps of a phase, or a share{_SHORTER}", Role.CONDITION, neutral=(None, 1.0)
    ),
    "overfit_batches": Setting(
        Natural | BelowOne | None, f"repeat so many steps, or a share{_SHORTER}", Role.CONDITION,
        neutral=(None, 0, 0.0),
    ),
    "fast_dev_run": Setting(
        bool | Natural, f"one step of each phase, or so many{_SHORTER}", Role.CONDITION,
        neutral=(None, False, 0),
    ),
}  # fmt: skip
"""Arguments of Lightning's Trainer that the fit itself honours."""

SETTINGS: dict[str, Setting] = {
    "method": Setting(Word, "method that the run is listed as", Role.METHOD),
    "scale": Setting(Literal[2, 3, 4], "enlargement of each side"),
    "chunks": Setting(Annotated[int, Meta(ge=1, le=32767)], "groups of patches", Role.METHOD),
    "seed": Setting(
        Annotated[int, Meta(ge=0, le=2**32 - 1)], "seed of first weights and sampling", Role.SEED
    ),
    "name": Setting(Text, "name of the run directory, before its hash", Role.NONE),
    "study": Setting(
        Text | None,
        "name of a study, or a file of your own: what it fixes, sweeps and reports",
        Role.NONE,
    ),
    "multirun": Setting(
        Text | None,
        "name of the multirun that the run is a job of; its W&B group where there is no other",
        Role.NONE,
    ),
    "plugins": Setting(
        list[Package],
        "packages of your own that are imported and may be built, see docs/plugins.md",
        Role.NONE,
    ),
    "networks_alone": Setting(
        bool | None,
        "also measure the first and the last chunk's network alone on every patch",
        Role.NONE,
    ),
    "deliver": Setting(bool, "also write the package", Role.NONE),
    "force": Setting(bool, "train again even if the run is finished", Role.NONE),
    "objective": Setting(Word, "figure of metrics.json that a search looks at", Role.NONE),
    "checkpoint_seconds": Setting(NotNegative, "seconds between checkpoints", Role.NONE),
    "paths.outputs": Setting(Text, "folder of run directories", path=True),
    "paths.cache": Setting(
        Text | None, "folder of prepared videos; null: where the run had it", path=True
    ),
    "paths.cache_limit": Setting(
        Positive | None,
        "GB of prepared videos; those not used for long are removed; null: no limit",
    ),
    "run": Setting(Text, "a run directory", Role.NONE, path=True),
    "runs": Setting(
        Text | Texts | None,
        "run directories, folders of them, sweep files: one or a list",
        Role.NONE,
        path=True,
    ),
    "out": Setting(
        Text | None, "file or folder to write; null: see docs/running.md", Role.NONE, path=True
    ),
    "title": Setting(Text | None, "title of the page", Role.NONE),
    "html": Setting(bool | None, "write report.html; null: yes, but not for a study", Role.NONE),
    "private": Setting(
        bool, "report.html also holds whole paths, uncommitted changes and the machine", Role.NONE
    ),
    "save": Setting(
        Literal["video", "png"] | None, "keep the SR frames in the run directory", Role.NONE
    ),
    "metrics": Setting(
        list[_OptionalMetric], "metrics beside those that are always computed", Role.NONE
    ),
    "network": Setting(Natural | None, "use this one network for every chunk", Role.NONE),
    "unpacked": Setting(bool, "write a folder in place of a file", Role.NONE),
    "format": Setting(Word, "runtime to export to: onnx, executorch, ncnn", Role.NONE),
    "size": Setting(
        Text, "input of the exported network: patch, frame, or WIDTHxHEIGHT in LR pixels", Role.NONE
    ),
    **CATALOGUE,
    "project": Setting(Text | None, "W&B project; null: what W&B was told, else stdo", Role.NONE),
    "entity": Setting(
        Text | None, "W&B user or team; null: what W&B was told, else your default", Role.NONE
    ),
    "group": Setting(
        Text | None, "show only this W&B group, a study or a multirun; null: all", Role.NONE
    ),
    "protocol": Setting(Literal[PROTOCOLS], "PSNR that the dashboard shows", Role.NONE),
    "print": Setting(
        bool, "print as JSON what would be sent, and send nothing; needs no account", Role.NONE
    ),
    "video.path": Setting(
        Text | None,
        "video file, or folder of pictures; null: the default clip, or where it was",
        Role.NONE,
        path=True,
    ),
    "video.paths": Setting(
        list[Text] | None, "video files of one size, one after the other", Role.NONE, path=True
    ),
    "video.root": Setting(Text | None, "folder of the VSD4K data set", Role.NONE, path=True),
    "video.topic": Setting(Text, "clip of VSD4K"),
    "video.seconds": Setting(Count, "length of the VSD4K clip"),
    "video.pattern": Setting(Text, "which file names, as a shell matches them"),
    "video.rate": Setting(Positive | Text, "frames per second of a folder of pictures"),
    "video.start": Setting(NotNegative, "where to begin, in seconds"),
    "video.duration": Setting(Positive | None, "length in seconds; null: to the end"),
    "video.every": Setting(Count, "take each n-th frame"),
    "video.max_frames": Setting(Count | None, "take at most so many frames"),
    "video.height": Setting(
        Annotated[int, Meta(ge=16)] | None, "shrink the source to so many rows first"
    ),
    "degrade.codec": Setting(
        Word | None,
        "codec of the LR video: x264, x265, svtav1, lossless; null: bicubic LR frames without "
        "a codec",
    ),
    "degrade.crf": Setting(
        Annotated[int, Meta(ge=0, le=63)] | None, "quality of the LR video; 0 is best"
    ),
    "degrade.preset": Setting(Text | None, "preset of the codec"),
    "patches.height": Setting(Count | None, "LR pixels; null: the paper's 48x54 (64x60 at x3)"),
    "patches.width": Setting(Count | None, "LR pixels; null: the paper's"),
    "patches.halo": Setting(Natural, "LR pixels of context around a patch, against seams"),
    "patches.whole": Setting(
        bool, "run finished networks on whole frames, without seams", neutral=(None, False)
    ),
    "chunking.name": Setting(Word, "how patches are grouped: score, time or whole"),
    "chunking.thresholds": Setting(
        Annotated[list[float], Meta(min_length=1)] | None,
        "PSNR in dB of the scorer between the chunks of chunking=score; null: equal chunks",
    ),
    "chunking.seconds": Setting(
        Positive | None, "longest chunk of chunking=time in seconds, in place of chunks"
    ),
    "scorer.name": Setting(Word, "what measures how hard a patch is"),
    "scorer.function": Setting(
        Text, "package.module:function, from an LR to an SR frame (uint8, HWC)"
    ),
    "scorer.weights": Setting(Text, "weights of f0: a local file or an https address", path=True),
    "scorer.sha256": Setting(Text | None, "SHA-256 of the weights; must be given for an address"),
    "scorer.backbone": Setting(Word, "backbone that the weights are of"),
    "scorer.colour": Setting(Literal["auto", "rgb", "ycbcr"], "what the weights were trained on"),
    "scorer.bicubic_a": Setting(
        float, "of bicubic in SRCNN and VDSR; -0.75 for weights trained on torch's"
    ),
    "scorer.frames": Setting(Literal["hr", "lr"], "where features are taken"),
    "scorer.block": Setting(Count, "pixels of a side of a DCT block"),
    "scorer.temporal": Setting(NotNegative, "weight of the change since the frame before"),
    "backbone.name": Setting(Word, "name in results"),
    "backbone.residual": Setting(
        Literal["none", "bicubic"], "predict the picture, or what bicubic lacks"
    ),
    "backbone.negative_slope": Setting(BelowOne, "slope below zero; 0 is ReLU", former="leak"),
    "backbone.width": Setting(Share, "share of the published channels"),
    "backbone.depth": Setting(
        Annotated[int, Meta(ge=1, le=16)], "convolutions between the first and the last"
    ),
    "backbone.channels": Setting(Annotated[int, Meta(ge=4, le=64)], "channels of each convolution"),
    "backbone.network.init": Setting(
        Literal["bicubic", "paper"], "first weights: bicubic enlargement, or published"
    ),
    "backbone.quick_passes": Setting(
        Positive, "passes of budget=quick: about equal seconds for every backbone", Role.NONE
    ),
    "backbone.paper_lr": Setting(Positive, "learning rate of budget=paper", Role.NONE),
    **SHARING,
    "sharing.bicubic_chunks": Setting(
        Natural,
        "so many of the easiest chunks have no network: bicubic serves them",
        former="bicubic",
    ),
    "sharing.init": Setting(Literal["bicubic", "paper"], "branches at first: silent, or published"),
    "init.name": Setting(Word, "how first weights are made: scratch, general, meta or warm"),
    "init.weights": Setting(Text | None, "weights.safetensors of a run of one network", path=True),
    "init.share": Setting(Below, "share of the patches seen that train the first network"),
    **{f"{sampler}.{name}": setting for sampler in SAMPLERS for name, setting in SAMPLER.items()},
    "budget.name": Setting(Word, "name of the budget"),
    "budget.passes": Setting(
        Positive, "patches seen in training, as a multiple of the video's patches"
    ),
    "budget.batch": Setting(Count, "patches per step, of each network or of all, see budget.equal"),
    "budget.equal": Setting(
        Literal["steps", "batch"],
        "batch: every network has budget.batch patches a step; steps: those side by side share it",
        Role.CONDITION,
        neutral=("batch",),  # what runs of before did
    ),
    "budget.lr": Setting(Positive, "learning rate that optim=adam takes", Role.NONE),
    "budget.warmup": Setting(BelowOne, "share of the steps in which the learning rate rises"),
    "budget.full_steps": Setting(
        Natural, "fits of fewer steps take less than the full learning rate"
    ),
    "budget.validate_every": Setting(
        Size | None,
        "steps between measurements of the video's PSNR while training, or their share of the "
        "fit; null: none",
        Role.NONE,
    ),
    "budget.validate_frames": Setting(
        Count | None,
        "measure each n-th frame; null: as many as cost about 3 % of the fit",
        Role.NONE,
    ),
    "optim.lr": Setting(Positive, "learning rate; with optim=muon, of the filters"),
    "optim.momentum": Setting(BelowOne, "momentum of Muon"),
    "optim.adam_lr": Setting(Positive, "learning rate of what Muon leaves to Adam", former="rest"),
    "optim.loss": Setting(
        Loss, "l1: the papers'; l2: what PSNR measures; or a function of a plugin's"
    ),
    "trainer.precision": Setting(
        Literal[PRECISIONS],
        "auto: bf16-mixed where the hardware has it, else 32-true",
        Role.CONDITION,
    ),
    "trainer.profiler": Setting(
        Literal["simple", "advanced", "pytorch"] | dict[str, Any] | None,
        "profile the fit, into the run directory",
    ),
    **{f"trainer.{name}": setting for name, setting in _TRAINER.items()},
    "weights.bits": Setting(Literal[32, 16, 8, 6, 4], "bits of a weight before entropy coding"),
    "logger.project": Setting(Text | None, "W&B project; null: what W&B was told, else stdo"),
    "logger.entity": Setting(
        Text | None, "W&B user or team; null: what W&B was told, else your default"
    ),
    "logger.mode": Setting(
        Literal["auto", "online", "offline"], "auto: online where there is a key and a server"
    ),
    "logger.group": Setting(
        Text | None, "W&B group; null: what W&B was told, else the study, else the multirun"
    ),
    "logger.tags": Setting(list[Text], "W&B tags, beside method, backbone, scale and chunks"),
    "logger.artifact": Setting(bool, "keep weights and chunks as a W&B artifact"),
    "plot.kind": Setting(
        Text | None, "lines, bars, scatter, heatmaps or crops; plot.png is drawn where it is set"
    ),
    "plot.x": Setting(Text | None, "column (lines, scatter)"),
    "plot.y": Setting(Text | None, "column; null: psnr_frame, or gain_frame (bars)"),
    "plot.by": Setting(Text | Texts | None, "columns that make a series; null: method"),
    "plot.text": Setting(Text | None, "column written beside each point (scatter)"),
    "plot.where": Setting(
        dict[str, Any] | None, "runs that are drawn: column -> the value or values that are wanted"
    ),
    "plot.log": Setting(bool | None, "logarithmic x axis (lines, scatter)"),
    "plot.paper": Setting(Text | None, "column with the paper's figure (bars)"),
    "plot.frame": Setting(Natural | None, "which frame (heatmaps); null: the middle one"),
}

FORMER: dict[str, str] = {
    f"{name.rpartition('.')[0]}.{setting.former}": name
    for name, setting in SETTINGS.items()
    if setting.former
}
"""What settings were called before -> what they are called now."""

_HANDED_ON = {
    "backbone.network.leak": "backbone.network.negative_slope",
    "optim.optimizer.rest": "optim.optimizer.adam_lr",
}
"""The same of what conf/ hands on to a class, as configurations of runs hold it."""


def role_of(name: str) -> Role:
    """What a setting means for the result of a run.

    Args:
        name: ``patches.halo``. Settings that are not in `SETTINGS` mean what their group does.
    """
    setting = SETTINGS.get(name)
    if setting is not None and setting.role is not None:
        return setting.role
    if name.rpartition(".")[2] == "seed":
        return Role.SEED
    while name:
        if name in GROUPS:
            return GROUPS[name]
        name = name.rpartition(".")[0]
    return Role.CONDITION


def is_neutral(name: str, value: Any) -> bool:
    """Whether a setting does nothing with this value, see `Setting.neutral`.

    >>> is_neutral("trainer.limit_train_batches", 1.0), is_neutral("trainer.max_steps", 5)
    (True, False)
    """
    setting = SETTINGS.get(name)
    neutral = setting.neutral if setting else (None,)
    return any(type(value) is type(each) and value == each for each in neutral)


def flat(settings: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as pairs of name and value: ``patches.halo``, 4. Former names become those of
    now."""
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        else:
            yield (FORMER | _HANDED_ON).get(name, name), value


def refuse(name: str, value: Any) -> UserError:
    """The error for a value that a setting does not take."""
    return UserError(f"{name}={value}: must be {SETTINGS[name].allowed}")
