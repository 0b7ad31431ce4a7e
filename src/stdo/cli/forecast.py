"""What a catalogue will cost: a few frames of a few videos are encoded, the rest is extrapolated.

Everything but a fixed start is proportional to what is done: training to the patches shown, all
else to the pixels. Two or three lengths of the same videos give both.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf

from stdo.cli.board import videos_of
from stdo.cli.engines import Local
from stdo.cli.parts import length_of
from stdo.cli.task import DONE, Task
from stdo.config.clips import build_clip
from stdo.config.composed import explained
from stdo.config.plugins import activate
from stdo.core.foreign import printable
from stdo.core.types import Json, UserError
from stdo.pipeline.chunking import chunks_of
from stdo.runs.catalogue import Folder, is_done
from stdo.runs.directory import read_result

FRAMES = (8, 32, 128)
"""Of each video of a calibration, one after the other while there is time; more where chunks are
parts of the time line and there are more than 8."""

_LIMIT = 60.0
"""Seconds after which no longer calibration begins, if it is to take longer than that."""

_PASSES = 2.0
"""Patches shown in a calibration, as a multiple of the video's; training grows with them."""

_MOST = 4
"""Videos of a calibration."""

_OPENED = 200
"""Videos that are opened; of more, the rest is taken to be like these."""


@dataclass(frozen=True)
class Size:
    """What is known of a video without decoding it.

    Attributes:
        frames: That will be encoded.
        pixels: Of all of them.
        patches: Of all of them.
        seconds: That they last.
        prepared: Bytes of the prepared video.
        chunks: Where their number follows from its length, else None.
        is_part: Whether it is a part of a long video.
    """

    frames: int
    pixels: int
    patches: int
    seconds: float
    prepared: int
    chunks: int | None = None
    is_part: bool = False


@dataclass(frozen=True)
class Sample:
    """One encoded piece: its pixels, the patches shown in training, and what it cost.

    Attributes:
        rest: Seconds without training.
        stream: Bytes of the package that grow with the video.
        fixed: Bytes of the package that do not.
        kept: Bytes of the run directory without the package and without what chunks have of their
            own.
        chunks: How many it has.
        sent: Bytes of the package that each chunk has of its own; no part of ``fixed``.
        saved: Bytes of the run directory that each chunk has of its own.
    """

    pixels: int
    shown: int
    train: float
    rest: float
    stream: int
    fixed: float
    kept: float
    chunks: int
    sent: float
    saved: float


@dataclass(frozen=True)
class Cost:
    """Of one video, or of a catalogue. Seconds are those of one process."""

    seconds: float
    bytes: float
    kept: float


def forecast(tasks: Sequence[Task], plain: Mapping[str, Any], workers: int) -> str:
    """Estimate jobs, core-hours, bytes and disk of the videos that are not done yet.

    Args:
        tasks: The videos of the catalogue.
        plain: All settings.
        workers: Videos at the same time.

    Raises:
        UserError: No video can be read, or none of the calibration could be encoded.
    """
    activate(list(plain.get("plugins") or ()))
    left = [each for each in tasks if each.forced or not _is_there(each)]
    opened = _spread(left, _OPENED)
    sizes: dict[str, Size] = {}
    lines = []
    for each in opened:
        try:
            sizes[each.key] = _size(each)
        except UserError as error:
            lines.append(f"cannot be encoded: {printable(str(error))}")
    if not left:
        return f"{videos_of(len(tasks))}: all done\n"
    if not sizes:
        raise UserError(f"videos: none of {len(opened)} can be encoded ({lines[0]})")
    known = [each for each in opened if each.key in sizes]
    share = len(opened) / len(left)

    began = time.monotonic()
    levels = _calibrate(known, sizes, workers)
    took = time.monotonic() - began
    passes = float(plain["budget"]["passes"])
    split = tasks[0].split
    pieces = [piece for size in sizes.values() for piece in _parts(size, split)]
    costs = []
    for piece in pieces:
        cost = _cost(levels, piece, passes)
        # Packages of parts stay beside what they are joined to
        kept = cost.kept + (cost.bytes if piece.is_part else 0)
        costs.append(replace(cost, kept=kept))
    text = _told(costs, pieces, plain, workers, share)
    videos = round(len(known) / share)
    head = f"{videos_of(len(tasks))}: {len(tasks) - len(left):,} done, {videos:,} to encode"
    if len(pieces) > len(sizes):
        head += f", in about {round(len(pieces) / share):,} parts (split.seconds={split:g})"
    how = f"calibrated on {len(levels[-1])} of them on this machine, in {took:.0f} s"
    if share < 1:
        how += f"; {len(opened)} were opened, the others are taken to be like these"
    return "\n".join([*lines, head, how, *text, ""])


def _spread(tasks: Sequence[Task], most: int) -> list[Task]:
    """At most so many of them, evenly over the sizes of their files."""
    if len(tasks) <= most:
        return list(tasks)

    def size(each: Task) -> int:
        try:
            return Path(each.video).stat().st_size
        except OSError:
            return 0

    ordered = sorted(tasks, key=size)
    return [ordered[(2 * n + 1) * len(ordered) // (2 * most)] for n in range(most)]


def _is_there(each: Task) -> bool:
    folder = Folder(Path(each.out))
    try:
        entry = folder.read(each.key)
    except UserError:
        return False
    return is_done(entry, Path(each.video), each.recipe, folder.package(each.key), each.split)


def _size(each: Task) -> Size:
    """Raises UserError for a video that cannot be read, or whose length is unknown."""
    config = OmegaConf.create(dict(each.settings))
    OmegaConf.update(config, "video.path", each.video)
    with explained():
        clip = build_clip(config)
    info, scale = clip.info, clip.scale
    if not info.frames:
        raise UserError(f"{each.video}: its length is unknown before it is decoded")
    pixels = info.frames * info.width * info.height
    prepared = int(3 * pixels * (1 + 1 / scale**2))
    length = config.chunking.get("seconds")
    return Size(
        info.frames,
        pixels,
        info.frames * clip.grid.patches,
        length_of(clip) or float(info.frames / info.rate),
        prepared,
        chunks_of(info, length) if length else None,
    )


def _parts(size: Size, split: float | None) -> list[Size]:
    """The parts that a video is likely to be split into, all alike, or the one that is all of it.

    Where scenes end is not known: a part ends in the second half of what it may have.
    """
    if split is None or size.seconds <= split:
        return [size]
    count = max(2, math.ceil(size.seconds / (0.75 * split)))
    part = Size(
        max(1, round(size.frames / count)),
        round(size.pixels / count),
        round(size.patches / count),
        size.seconds / count,
        round(size.prepared / count),
        None if size.chunks is None else max(1, round(size.chunks / count)),
        is_part=True,
    )
    return [part] * count


def _calibrate(
    known: Sequence[Task], sizes: Mapping[str, Size], workers: int
) -> list[dict[str, Sample]]:
    """Samples of the same videos, of more and more frames, so many at a time as there will be."""
    ordered = sorted(known, key=lambda each: sizes[each.key].pixels)
    count = min(len(ordered), max(2, min(workers, _MOST)))
    chosen = [ordered[round((n + 0.5) * len(ordered) / count - 0.5)] for n in range(count)]
    levels: list[dict[str, Sample]] = []
    out = Path(chosen[0].out)
    base = out if out.is_dir() else None
    with tempfile.TemporaryDirectory(prefix=".plan-", dir=base) as scratch:
        for frames in _lengths(chosen[0].settings):
            began = time.monotonic()
            pieces = [_piece(each, sizes[each.key], frames, Path(scratch)) for each in chosen]
            sys.stderr.write(f"calibrating: {frames} frames of {videos_of(count)}\n")
            engine = Local(min(workers, count), chosen[0].threads, 0)
            ended = list(engine.run(pieces))
            samples = {each.key: _sample(each) for each, outcome in ended if outcome == DONE}
            if not samples and not levels:
                entry = Folder(Path(pieces[0].out)).read(pieces[0].key)
                why = entry.error if entry else ended[0][1]
                raise UserError(f"plan: no video could be encoded ({why})")
            levels.append(samples)
            took = time.monotonic() - began
            whole = all(frames >= sizes[each.key].frames for each in chosen)
            if whole or (len(levels) > 1 and 4 * took > _LIMIT):
                break
    return levels


def _lengths(settings: Mapping[str, Any]) -> list[int]:
    """Frames of the pieces of a calibration. A chunk that is a part of the time line needs one."""
    by_time = settings["chunking"]["name"] == "time" and not settings["chunking"]["seconds"]
    least = int(settings["chunks"]) if by_time else 1
    return [frames * -(-least // FRAMES[0]) for frames in FRAMES]


def _piece(each: Task, size: Size, frames: int, scratch: Path) -> Task:
    """A task that encodes some frames from the middle of a video, with fewer steps."""
    out = scratch / str(frames)
    settings: Json = deepcopy(dict(each.settings))
    settings["paths"] = {"outputs": str(out / "runs"), "cache": str(out / "cache")}
    settings["budget"]["passes"] = min(_PASSES, float(settings["budget"]["passes"]))
    video = settings["video"]
    if frames < size.frames:
        video["max_frames"] = frames
        if size.chunks is not None:  # two or more chunks tell what one more takes
            half = frames / 2 * size.seconds / size.frames
            settings["chunking"]["seconds"] = min(half, float(settings["chunking"]["seconds"]))
        if video.get("start") in (0, None):
            video["start"] = round((size.frames - frames) / 2 * size.seconds / size.frames, 3)
    return replace(each, out=str(out), settings=settings, own_cache=True, split=None, forced="")


def _sample(each: Task) -> Sample:
    entry = Folder(Path(each.out)).read(each.key)
    assert entry is not None and entry.run is not None, entry
    outputs = str(each.settings["paths"]["outputs"])
    run = Path(outputs + entry.run[len(outputs) :])  # a status holds what can be printed
    metrics = read_result(run)
    parts, seconds = metrics["bytes"], metrics["seconds"]
    stream = parts["lr"] + parts["audio"] + parts["chunks"]
    train = float(seconds["train"])
    files = [path for path in run.rglob("*") if path.is_file() and path.suffix != ".stdo"]
    chunks, weights, base = metrics["chunks"], metrics["params"], metrics["params_base"]
    own = metrics["params_per_chunk"] + (base if weights >= 2 * base else 0)
    sent, saved = parts["models"] * own / weights, 4.0 * own
    return Sample(
        metrics["frames"] * metrics["width"] * metrics["height"],
        metrics["patch_presentations"],
        train,
        entry.seconds - train,
        stream,
        parts["total"] - stream - sent * chunks,
        sum(path.stat().st_size for path in files) - saved * chunks,
        chunks,
        sent,
        saved,
    )


def _cost(levels: Sequence[Mapping[str, Sample]], size: Size, passes: float) -> Cost:
    """What a video will cost: lines through the samples, the mean of all videos of the
    calibration."""
    last = levels[-1]
    found = []
    for key, most in last.items():
        fewer = [level[key] for level in levels[:-1] if key in level]
        least = fewer[-1] if fewer else most
        rest = _line(least.pixels, least.rest, most.pixels, most.rest, size.pixels)
        shown = passes * size.patches
        train = _line(least.shown, least.train, most.shown, most.train, shown)
        stream = _line(least.pixels, least.stream, most.pixels, most.stream, size.pixels)
        kept = _line(least.pixels, least.kept, most.pixels, most.kept, size.pixels)
        chunks = size.chunks or most.chunks
        size_of = stream + most.fixed + chunks * most.sent
        found.append(Cost(rest + train, size_of, kept + chunks * most.saved))
    return Cost(
        fmean(each.seconds for each in found),
        fmean(each.bytes for each in found),
        fmean(each.kept for each in found),
    )


def _line(x0: float, y0: float, x1: float, y1: float, x: float) -> float:
    """The line through two points at ``x``; where they are one point, or it falls, in proportion
    to the second.

    >>> _line(1, 5, 3, 9, 10), _line(3, 9, 3, 9, 4)
    (23.0, 12.0)
    """
    if x1 <= x0 or y1 <= y0:
        return y1 * x / x1
    slope = (y1 - y0) / (x1 - x0)
    return max(0.0, y0 - slope * x0) + slope * x


def _told(
    costs: Sequence[Cost],
    sizes: Sequence[Size],
    plain: Mapping[str, Any],
    workers: int,
    share: float,
) -> list[str]:
    """The lines of a forecast. share: of the videos that ``costs`` and ``sizes`` are of."""
    threads = int(plain["threads"])
    work = sum(each.seconds for each in costs) / share
    longest = max(each.seconds for each in costs)
    wall = max(work / workers, longest)
    packages = sum(each.bytes for each in costs) / share
    kept = sum(each.kept for each in costs) / share
    largest = sorted((each.prepared for each in sizes), reverse=True)
    # A cache that is shared keeps everything
    shared = plain["paths"]["cache"] != f"{plain['out']}/cache"
    prepared = sum(largest) / share if shared else sum(largest[:workers])
    minutes = sum(each.seconds for each in sizes) / 60 / share
    frames = round(sum(each.frames for each in sizes) / share)
    per = (
        f"{work * threads / 60 / minutes:,.1f} core-minutes and {packages / 1e6 / minutes:,.2f} MB"
    )
    return [
        f"video          {minutes:,.2f} min, {frames:,} frames",
        f"work           {work * threads / 3600:,.3f} core-hours; {wall / 60:,.1f} min with "
        f"workers={workers} threads={threads}",
        f"packages       {packages / 1e6:,.2f} MB",
        f"disk           {(packages + kept + prepared) / 1e6:,.1f} MB at most: packages, "
        f"{kept / 1e6:,.1f} MB of run directories, {prepared / 1e6:,.1f} MB of prepared videos",
        f"a minute of it {per}",
    ]
