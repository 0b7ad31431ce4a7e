"""The points of the study: a codec at full resolution, or a delivered package. Each is made once
and kept."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from itertools import product
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from stdo.cli.deliver import pack
from stdo.config.jobs import build_job
from stdo.config.settings import settle
from stdo.config.trust import conf_dir
from stdo.core.files import atomic
from stdo.core.progress import terminal
from stdo.core.provenance import provenance
from stdo.core.types import Frame, FrameSource, Json, UserError, VideoInfo
from stdo.encoder.pack import Delivery
from stdo.evaluation.frames import compare, truth
from stdo.evaluation.vmaf import keep, vmaf
from stdo.pipeline.steps import Job, train
from stdo.player.client import Player
from stdo.reporting.results import command
from stdo.runs.schema import PARTS
from stdo.video.reader import VideoFile
from stdo.video.store import Prepared
from stdo.video.writer import VideoWriter

PRESETS = {"x264": "medium", "x265": "medium", "svtav1": "6"}
_OURS = ("degrade.", "degrade=", "weights.bits=", "deliver=", "out=", "experiment=", "study=")


def _several(override: Override) -> bool:
    return bool(override.is_sweep_override())


def _values(override: Override) -> list[str]:
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _word(value: object) -> str:
    return "null" if value is None else str(value)


class Mute:
    """A source without its sound and subtitles: packages of it hold what the codecs' files hold."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source

    @property
    def info(self) -> VideoInfo:
        """See `FrameSource`."""
        return self._source.info

    def fingerprint(self) -> str:
        """See `FrameSource`."""
        return self._source.fingerprint()

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._source)


@dataclass(frozen=True)
class Maker:
    """Makes points of one video.

    settings: of the video, the networks and their training, as stdo.train takes them. ffmpeg: the
        program that measures
    VMAF, None: nothing does. again: keep nothing of what was made before.
    """

    settings: Sequence[str]
    ffmpeg: str | None = None
    again: bool = False

    def __post_init__(self) -> None:
        for setting in self.settings:
            if setting.lstrip("+~").startswith(_OURS):
                raise UserError(f"{setting}: is the study's to set; see --lr and --bits")

    @cached_property
    def networks(self) -> list[list[str]]:
        """Settings of which several values are given, such as ``method=jstdo,stdo``: every
        combination of them."""
        swept = [
            each
            for each in OverridesParser.create().parse_overrides(list(self.settings))
            if _several(each)
        ]
        for each in swept:
            if each.get_key_element().startswith(("video", "paths")):
                raise UserError(f"{each.input_line}: must be one; points of one video are compared")
        return [list(each) for each in product(*map(_values, swept))]

    def job(self, networks: Sequence[str], codec: str | None = None, crf: int | None = None) -> Job:
        """The run of one of `networks` on one LR video; codec None: on an LR video that no codec
        touched."""
        preset = PRESETS[codec] if codec else None
        lr = [
            f"degrade.{key}={_word(value)}"
            for key, value in (("codec", codec), ("crf", crf), ("preset", preset))
        ]
        overrides = ["experiment=delivery", *self._fixed, *networks, *lr, "deliver=false"]
        with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
            config = compose("train", overrides)
        settle(config)
        job = build_job(config)
        job.data.clip.source = Mute(job.data.clip.source)
        return replace(job, command=["train.py", *overrides])

    @cached_property
    def _fixed(self) -> list[str]:
        parsed = OverridesParser.create().parse_overrides(list(self.settings))
        return [each.input_line for each in parsed if each.input_line and not _several(each)]

    @cached_property
    def _any(self) -> Job:
        job = self.job(self.networks[0])
        job.data.prepare_data()
        return job

    @property
    def video(self) -> Prepared:
        """The prepared video, for its ground truth."""
        return self._any.data.video

    @cached_property
    def _truth(self) -> Path:
        """The ground truth as a file without loss, for FFmpeg."""
        path = self.video.folder / "truth.mkv"
        return (
            path
            if path.exists()
            else keep(path, zip(self.video.pts, truth(self.video), strict=True), self.info)
        )

    @property
    def info(self) -> VideoInfo:
        """What is known of the video."""
        return self.video.info

    @property
    def seconds(self) -> Fraction:
        """How long the video is; its last frame is shown for one average interval."""
        return self.video.pts[-1] + 1 / self.info.rate

    def encoded(self, codec: str, crf: int) -> list[Json]:
        """The video at full resolution through a codec."""
        runs = self._any.directory.parent
        path = (
            runs / "codecs" / self.video.folder.name[:8] / f"{codec}-{PRESETS[codec]}-crf{crf}.mp4"
        )

        def make() -> Json:
            spent = self._encode(path, codec, crf)
            frames = (frame.rgb_HWC for frame in VideoFile(path))
            figures = compare(
                path, truth(self.video), terminal(frames, len(self.video.hr), "measure")
            )
            sizes = dict.fromkeys(PARTS, 0) | {
                "lr": path.stat().st_size,
                "total": path.stat().st_size,
            }
            facts = {
                "method": codec,
                "codec": codec,
                "crf": crf,
                "preset": PRESETS[codec],
                "seconds_encode": spent,
            }
            return self._row(facts, sizes, figures)

        row = self._kept(path, make)
        return [self._with_vmaf(row, path, lambda: ((f.pts, f.rgb_HWC) for f in VideoFile(path)))]

    def _encode(self, path: Path, codec: str, crf: int) -> float:
        path.parent.mkdir(parents=True, exist_ok=True)
        info, video = self.info, self.video
        began = time.perf_counter()
        with VideoWriter(
            path,
            info.width,
            info.height,
            info.rate,
            codec,
            crf,
            PRESETS[codec],
            info.colour,
            timeline=video.timeline,
        ) as writer:
            for frame in terminal(
                zip(video.pts, truth(video), strict=True), len(video.hr), f"{codec} crf {crf}"
            ):
                writer.write(frame)
        return time.perf_counter() - began

    def delivered(
        self, networks: Sequence[str], codec: str, crf: int, packings: Sequence[Delivery]
    ) -> list[Json]:
        """Packages of one run, packed in several ways, and bicubic on the same LR video."""
        job = self.job(networks, codec, crf)
        metrics = train(job, self.again)
        rows = []
        for each in packings:
            package = job.directory / f"{each.bits}bit.stdo"
            row = self._kept(package, partial(self._pack, job, replace(each, out=package)))
            rows.append(self._with_vmaf(row, package, partial(Player, package)))
        bicubic = {
            "method": "bicubic",
            "codec": codec,
            "crf": crf,
            "preset": PRESETS[codec],
            "scale": metrics["scale"],
        }
        sizes = dict.fromkeys(PARTS, 0) | dict.fromkeys(("lr", "total"), rows[0]["bytes_lr"])
        return [*rows, self._row(bicubic, sizes, metrics["bicubic"])]

    def _pack(self, job: Job, delivery: Delivery) -> Json:
        began = time.perf_counter()
        metrics = pack(job.directory, job.data.clip, delivery)
        made = metrics["delivered"]
        facts = {
            key: metrics[key] for key in ("method", "backbone", "scale", "chunks", "seed", "passes")
        }
        facts |= {key: made[key] for key in ("codec", "crf", "bits")} | {
            "preset": PRESETS[made["codec"]]
        }
        facts |= {"presentations": metrics["patch_presentations"], "params": metrics["params"]}
        facts |= {
            "seconds_train": metrics["seconds"]["train"],
            "seconds_deliver": time.perf_counter() - began,
        }
        facts["frame_before"] = metrics["psnr"]["frame"]
        return self._row(facts, metrics["bytes"], made)

    def _row(self, facts: Json, sizes: Json, figures: Json) -> Json:
        video, psnr, origin = self.video, figures["psnr"], provenance(sys.argv)
        size = {
            "width": video.width,
            "height": video.height,
            "frames": len(video.hr),
            "seconds": float(self.seconds),
        }
        row = dict.fromkeys(COLUMNS) | {"video": self.info.name} | size | facts
        row |= {f"bytes_{part}": sizes[part] for part in PARTS}
        row["kbps"] = float(sizes["total"] * 8 / 1000 / self.seconds)
        row |= {f"psnr_{name}": psnr[name] for name in ("frame", "pooled", "y")} | {
            "ssim": figures["ssim"]
        }
        row |= {"commit": (origin["commit"] or "")[:12] or None, "dirty": bool(origin["diff"])}
        row |= {key: origin["machine"][key] for key in ("processor", "cores")} | {
            "started": origin["started"]
        }
        words = ["experiments/rate_distortion/study.py", *sys.argv[1:]]
        assert set(row) == set(COLUMNS), set(row) ^ set(COLUMNS)
        return row | {"command": f"python {command(words)}"}

    def _kept(self, made: Path, make: Callable[[], Json]) -> Json:
        """What is kept of a file beside it, or made anew where the file is gone."""
        kept = made.with_name(f"{made.name}.json")
        if made.exists() and kept.exists() and not self.again:
            row: Json = json.loads(kept.read_text())
            return row
        row = make()
        with atomic(kept) as partial:
            partial.write_text(json.dumps(row, indent=1))
        return row

    def _with_vmaf(self, row: Json, made: Path, frames: Callable[[], object]) -> Json:
        if self.ffmpeg is None or row["vmaf"] is not None:
            return row
        shown = keep(made.with_name(f"{made.stem}-vmaf.mkv"), frames(), self.info)
        try:
            row["vmaf"] = vmaf(self._truth, shown, self.ffmpeg)
        finally:
            shown.unlink()
        with atomic(made.with_name(f"{made.name}.json")) as partial:
            partial.write_text(json.dumps(row, indent=1))
        return row


COLUMNS = (
    "video", "width", "height", "frames", "seconds", "method", "backbone", "scale", "chunks",
    "seed", "passes", "presentations", "params", "codec", "preset", "crf", "bits",
    *(f"bytes_{part}" for part in PARTS), "kbps", "psnr_frame", "psnr_pooled", "psnr_y", "ssim",
    "vmaf", "frame_before", "seconds_encode", "seconds_train", "seconds_deliver", "commit", "dirty",
    "processor", "cores", "started", "command",
)  # fmt: skip
"""Of results.tsv. bytes_lr: of the video that is sent; frame_before: the run's PSNR before its
weights were rounded."""
