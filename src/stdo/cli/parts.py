"""Long videos of a catalogue: split at scene cuts, encoded as jobs of their own, and joined.

A job of a long video does what can be done now. It makes the plan; once all parts are there, it
joins them. In between, `stdo.cli.splits` queues the parts.
"""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stdo.cli.progress import Status
from stdo.cli.task import DONE, SPLIT, Task
from stdo.core.types import Json, UserError
from stdo.runs.catalogue import Folder, is_done, stamp
from stdo.runs.parts import Piece, Plan, folder_of, part_key, read_plan, write_plan

if TYPE_CHECKING:
    from stdo.video.clip import Clip

_MICRO = 10**6
LATE = 60.0
"""Seconds in which a shared disk shows what another machine has written."""
_OWN = ("video.start", "video.duration", "video.max_frames")
"""Settings that say which part of a video a part is."""


def part_tasks(task: Task, plan: Plan) -> list[Task]:
    """The jobs of a long video's parts, in order."""
    return [_part_task(task, plan, number) for number in range(len(plan.pieces))]


def _part_task(task: Task, plan: Plan, number: int) -> Task:
    piece = plan.pieces[number]
    settings: Json = deepcopy(dict(task.settings))
    span: Mapping[str, Any] = {"start": piece.start, "duration": None, "max_frames": piece.frames}
    settings["video"] = dict(settings["video"]) | dict(span)
    if task.own_cache:
        settings["paths"] = dict(settings["paths"]) | {"cache": task.cache}
    words = [word for word in task.words if word.lstrip("+~").partition("=")[0] not in _OWN]
    words += [f"video.start={piece.start}", f"video.max_frames={piece.frames}"]
    recipe = f"{task.recipe} {piece.start} {piece.frames}".encode()
    return replace(
        task,
        out=str(folder_of(Folder(Path(task.out)), task.key).path),
        key=part_key(number),
        recipe=hashlib.blake2b(recipe, digest_size=8).hexdigest(),
        settings=settings,
        words=tuple(words),
        split=None,
        part=f"{task.key} {number + 1}/{len(plan.pieces)}",
    )


def plan_of(task: Task) -> Plan | None:
    """The plan of a long video, where it is made."""
    assert task.split is not None
    folder = folder_of(Folder(Path(task.out)), task.key)
    return read_plan(folder, task.recipe, stamp(Path(task.video)), task.split)


def is_part_done(part: Task) -> bool:
    """Whether the package of a part is there; one that was made before a ``force=true`` is not."""
    folder = Folder(Path(part.out))
    try:
        entry = folder.read(part.key)
    except UserError:
        return False
    if part.forced and (entry is None or entry.forced != part.forced):
        return False
    return is_done(entry, Path(part.video), part.recipe, folder.package(part.key))


def advance(task: Task, status: Status) -> str | None:
    """Do what can be done for a video now, if it is long.

    Args:
        task: A video that may be split.
        status: Its status file.

    Returns:
        ``split``: its parts come first; ``done``: it was joined; None: it is not long.

    Raises:
        UserError: It is damaged, or its parts cannot be joined.
    """
    assert task.split is not None
    clip = _clip(task)
    plan = plan_of(task)
    if plan is None:
        seconds = length_of(clip)
        if seconds is not None and seconds <= task.split:
            status.set(length=seconds, parts=0, split=None)
            return None
        plan = _made(task, clip)
        write_plan(folder_of(status.folder, task.key), plan)
    last = Fraction(plan.last or 1 / Fraction(plan.rate))
    length = float(plan.times()[-1] + last)
    if len(plan.pieces) == 1:
        status.set(length=min(length, task.split), parts=0, split=None)
        return None
    status.set(length=length, parts=len(plan.pieces), split=task.split)
    parts = part_tasks(task, plan)
    until = time.monotonic() + (LATE if task.joining else 0)
    while not all(map(is_part_done, parts)) and time.monotonic() < until:
        time.sleep(1.0)
    if not all(map(is_part_done, parts)):
        status.set(state="parts", error=None, step=0, steps=0, seconds=status.seconds())
        return SPLIT
    _join(task, status, plan, clip, parts)
    return DONE


def length_of(clip: Clip) -> float | None:
    """Seconds of a video without decoding it; None where nothing tells."""
    from stdo.video.reader import VideoFile

    info, source = clip.info, clip.source
    seconds = source.length() if isinstance(source, VideoFile) else None
    if seconds is None and info.frames is not None:
        seconds = info.frames / info.rate
    return None if seconds is None else float(seconds)


def _clip(task: Task) -> Clip:
    from omegaconf import OmegaConf

    from stdo.config.clips import build_clip
    from stdo.config.composed import explained
    from stdo.config.plugins import activate

    config = OmegaConf.create(dict(task.settings))
    activate(list(config.get("plugins") or ()))
    OmegaConf.update(config, "video.path", task.video)
    with explained():
        return build_clip(config)


def _made(task: Task, clip: Clip) -> Plan:
    """Decode a video once, and say where its parts begin."""
    from stdo.video.reader import VideoFile
    from stdo.video.scenes import HEIGHT, lengths, scan, split

    assert task.split is not None
    settings = dict(task.settings["video"])
    asked = {name: settings.get(name) for name in ("duration", "max_frames")}
    start, every = float(settings.get("start") or 0.0), int(settings.get("every") or 1)
    height = HEIGHT if clip.info.height > HEIGHT else None
    size, mtime = stamp(Path(task.video))
    source = VideoFile(task.video, start, height=height, every=every, **asked)
    sys.stderr.write(f"longer than split.seconds={task.split:g}: looking for scene cuts\n")
    found = scan(source, clip.progress)
    rate = clip.info.rate
    end = found.pts[-1] + (found.last or 1 / rate)
    firsts = split(found.pts, end, found.cuts(), Fraction(str(task.split)))

    origin = source.origin()
    starts = [start]
    for first in firsts[1:]:
        begin = origin + found.pts[first]
        starts.append(math.floor(begin * _MICRO) / _MICRO)
        again = VideoFile(task.video, starts[-1], max_frames=1, height=height, every=every)
        if again.origin() != begin:
            raise UserError(
                f"{task.video}: its frame at {float(begin):g} s is not found by its time, so the "
                "video cannot be split there; use split.seconds=null"
            )
    counts = lengths(firsts, len(found.pts))
    even = all(time == t / rate for t, time in enumerate(found.pts))
    sys.stderr.write(f"{len(firsts)} parts, from {', '.join(f'{each:.2f}' for each in starts)} s\n")
    return Plan(
        recipe=task.recipe,
        size=size,
        mtime=mtime,
        split=task.split,
        rate=str(rate),
        pts=None if even else list(map(str, found.pts)),
        last=None if found.last is None else str(found.last),
        pieces=[Piece(*each) for each in zip(firsts, counts, starts, strict=True)],
    )


def _join(task: Task, status: Status, plan: Plan, clip: Clip, parts: list[Task]) -> None:
    """Write the package of a video whose parts are all there."""
    from stdo.encoder.join import Whole, join_parts

    status.set(state="packing", error=None)
    last = None if plan.last is None else Fraction(plan.last)
    whole = Whole(clip.source, plan.times(), last, [piece.first for piece in plan.pieces])
    folder = Folder(Path(parts[0].out))
    package = status.folder.package(task.key)
    manifest, notes = join_parts(package, [folder.package(part.key) for part in parts], whole)
    sys.stderr.write("".join(f"note: {note}\n" for note in notes))
    entries = [folder.read(part.key) for part in parts]
    spent = sum(entry.seconds for entry in entries if entry is not None)
    quality = manifest.quality
    status.set(
        state="done",
        error=None,
        eta=None,
        run=None,
        bytes=package.stat().st_size,
        psnr=None if quality is None else quality.psnr.frame,
        seconds=round(status.seconds() + spent, 1),
    )
