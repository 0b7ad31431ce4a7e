"""Does it pay to send small video and networks, rather than a codec's video?

    python experiments/rate_distortion/study.py video.path=clip.mp4 video.height=540 budget.passes=4

Settings are those of stdo.train, but for what the options sweep. Of those of the networks several
values may be given, such as method=jstdo,stdo scale=2,4. The same frames go through codecs at full
resolution, and through stdo: small video × networks × bits of a weight, from delivered packages.
All bytes are counted but those of the sound, which neither side carries. What is finished is kept,
so the same command goes on where it was stopped; force=true makes everything anew.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from curves import BEST, CODECS, DURATIONS, bd_table
from figure import over_durations, quality_over_rate
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from points import PRESETS, Maker

from stdo.cli.app import one_line
from stdo.config.words import as_meant
from stdo.core.console import prepare
from stdo.core.signals import Stopped, heeded
from stdo.core.types import Json, UserError
from stdo.encoder.pack import Delivery
from stdo.evaluation.table import aligned, number
from stdo.evaluation.vmaf import has_vmaf
from stdo.reporting.plots import save
from stdo.reporting.results import write_table
from stdo.training.callbacks import hush
from stdo.video.codecs import codec_of

FULL = ["x264=20,26,32,38,44,50", "x265=20,26,32,38,44,50", "svtav1=24,32,40,48,56,63"]
METHODS = "method=awdnn,jstdo,stdo"
SMALL = ["x264=16,22,28,34"]


@dataclass(frozen=True)
class Step:
    """One encoding, or one training with its packages."""

    kind: str
    name: str
    make: Callable[[], list[Json]]


def steps_of(asked: argparse.Namespace) -> list[Step]:
    """Everything that is to be measured. Raises UserError for a setting that cannot be."""
    if find_spec("bjontegaard") is None:
        raise UserError("needs the package bjontegaard; pip install 'stdo[study]'")
    program = asked.ffmpeg if asked.vmaf and has_vmaf(asked.ffmpeg) else None
    if asked.vmaf and program is None:
        sys.stderr.write(f"note: --ffmpeg {asked.ffmpeg} has no libvmaf; VMAF is left out\n")
    settings = as_meant([each for each in asked.settings if each != "force=true"])
    if not any(each.startswith("method=") for each in settings):
        settings.append(METHODS)
    maker = Maker(settings, program, "force=true" in asked.settings)
    full, small = _sweeps("--full", asked.full), _sweeps("--lr", asked.lr)
    kinds = [Delivery(_whole("--bits", each)) for each in asked.bits.split(",")]
    encode = [
        Step("codec", f"{codec} crf {crf}", partial(maker.encoded, codec, crf))
        for codec, crf in full
    ]
    runs: dict[Path, Step] = {}  # by directory, since awDNN is the same run whatever the chunks
    for (codec, crf), networks in product(small, maker.networks):
        name = f"{' '.join(networks)} on {codec} crf {crf}"
        # A mistake shows before anything is encoded
        where = maker.job(networks, codec, crf).directory
        runs.setdefault(
            where, Step("run", name, partial(maker.delivered, networks, codec, crf, kinds))
        )
    return [*encode, *runs.values()]


def _sweeps(option: str, words: Sequence[str]) -> list[tuple[str, int]]:
    """``x264=20,28`` and so on as pairs of codec and crf."""
    pairs = []
    for codec, _, values in (word.partition("=") for word in words):
        if codec not in PRESETS or not values:
            raise UserError(f"{option} {codec}: must be codec=crf,crf,… of {', '.join(PRESETS)}")
        pairs += [(codec, _whole(option, value)) for value in values.split(",")]
    for codec, crf in pairs:
        codec_of(codec, crf)
    return pairs


def _whole(option: str, text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"{option} {text}: must be a whole number")
    return int(text)


def run(steps: Sequence[Step]) -> list[Json]:
    """Make every point; say before each how long is left, by the steps of each kind so far."""
    rows: list[Json] = []
    spent: dict[str, list[float]] = {step.kind: [] for step in steps}
    for index, step in enumerate(steps):
        left = [each.kind for each in steps[index:]]
        known = sum(
            left.count(kind) * sum(times) / len(times) for kind, times in spent.items() if times
        )
        unknown = any(kind in left and not times for kind, times in spent.items())
        about = (
            f", {'more than' if unknown else 'about'} {known / 60:.1f} min left" if known else ""
        )
        sys.stderr.write(f"[{index + 1}/{len(steps)}] {step.name}{about}\n")
        began = time.monotonic()
        rows += step.make()
        if time.monotonic() - began > 1:  # what was there already tells nothing
            spent[step.kind].append(time.monotonic() - began)
    return _once(rows)


def _once(rows: Sequence[Json]) -> list[Json]:
    """Bicubic comes with every method; once is enough."""
    keys = ("method", "codec", "crf", "bits", "scale", "backbone", "chunks")
    return list({tuple(row[key] for key in keys): row for row in rows}.values())


def write(out: Path, rows: Sequence[Json]) -> str:
    """Write results.tsv, bd_rate.tsv, plot.png and durations.png. Returns the closing table."""
    bd = bd_table(rows)
    first = rows[0]
    size = (
        f"{first['width']}x{first['height']}, {first['frames']} frames in {first['seconds']:.3g} s"
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_table(out / "results.tsv", rows)
        if bd:
            write_table(out / "bd_rate.tsv", bd)
        save(
            out / "plot.png",
            quality_over_rate(rows, f"Rate and distortion: {first['video']}, {size}"),
        )
        longer = over_durations(
            rows, "If the video were longer: the networks' bytes spread, quality as on this clip"
        )
        if longer:
            save(out / "durations.png", longer)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror})") from error
    return closing(bd)


def closing(bd: Sequence[Json]) -> str:
    """BD-rates by frame PSNR: of the clip, and as computed for the longest duration."""
    frame = [row for row in bd if row["metric"] == "psnr_frame"]
    anchors = sorted({row["anchor"] for row in frame}, key=CODECS.index)
    longest = f"at {DURATIONS[-1] // 60} min"
    lines = [["BD-rate, PSNR (frame)", *anchors, *(f"{anchor} {longest}" for anchor in anchors)]]
    for name in dict.fromkeys(row["curve"] for row in frame):
        mine = [row for row in frame if row["curve"] == name]
        clip = {row["anchor"]: row["bd_rate_percent"] for row in mine if not row["computed"]}
        last = {
            row["anchor"]: row["bd_rate_percent"] for row in mine if row["computed"]
        } or clip  # durations ascend
        values = [each.get(anchor) for each in (clip, last) for anchor in anchors]
        lines.append(
            [
                name,
                *(number(value, 0, "+") + (" %" if value is not None else "") for value in values),
            ]
        )
    notes = (
        f"–: no quality in common. {BEST}: of all its points. "
        f"{longest}: computed, see durations.png"
    )
    return "\n".join([*aligned(lines), "", notes])


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    text, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="study.py",
        description=text,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "settings", nargs="*", help=f"of stdo.train; {METHODS} where no method is named"
    )
    parser.add_argument(
        "--full",
        nargs="*",
        default=FULL,
        help=f"codec=crf,crf,… at full resolution; {' '.join(FULL)}",
    )
    parser.add_argument(
        "--lr", nargs="+", default=SMALL, help=f"codec=crf,… of the small video; {' '.join(SMALL)}"
    )
    parser.add_argument(
        "--bits", default="8,4", help="of a weight, comma between: 32, 16, 8, 6, 4; default 8,4"
    )
    parser.add_argument(
        "--vmaf", action="store_true", help="measure VMAF as well, where FFmpeg has libvmaf"
    )
    parser.add_argument("--ffmpeg", default="ffmpeg", help="the FFmpeg program that measures VMAF")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent,
        help="folder of the results; this study's own",
    )
    return parser.parse_intermixed_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Run the study; a user's mistake is one line and exit code 2."""
    prepare(command=words is None)
    asked = arguments(words)
    hush()
    try:
        with heeded():
            sys.stdout.write(f"{write(asked.out, run(steps_of(asked)))}\n\n{asked.out}\n")
    except (UserError, HydraException, OmegaConfBaseException) as error:
        sys.stderr.write(f"stdo: {one_line(error)}\n")
        sys.exit(2)
    except Stopped as stop:
        sys.stderr.write(f"\nstdo: stopped by {stop.name}; the same command resumes\n")
        sys.exit(stop.exit_code)


if __name__ == "__main__":
    main()
