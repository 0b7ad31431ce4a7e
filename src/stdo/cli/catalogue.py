"""Encode many videos by one recipe: ``python -m stdo.catalogue videos=films out=packages``."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from hydra.core.hydra_config import HydraConfig
from msgspec.structs import replace
from omegaconf import DictConfig, OmegaConf

from stdo.cli.app import enter
from stdo.cli.board import shown, totals, videos_of
from stdo.cli.encode import BUSY, CODES, DONE, FAILED, Task
from stdo.cli.engines import engine_of
from stdo.cli.mistakes import mistakes
from stdo.cli.videos import find_videos, of_shard
from stdo.config.settings import check, one_form, place, refuse_processes, shaping_settings
from stdo.config.trust import conf_dir
from stdo.config.words import as_people_type
from stdo.core.console import prepare
from stdo.core.cores import usable_cores
from stdo.core.foreign import printable
from stdo.core.types import Json, UserError
from stdo.runs.catalogue import (
    Entry,
    Folder,
    Listing,
    Video,
    called,
    is_done,
    keys_of,
    stamp,
)
from stdo.runs.settings import SETTINGS, flat

_LATE = 60.0
"""Seconds in which a shared disk shows what another machine has written."""
ACTIONS = ("run", "status", "retry", "plan", "cache", "clear")
OWN = (
    "videos", "out", "action", "engine", "shard", "workers", "threads", "retries", "resources",
    "ray", "slurm",
)  # fmt: skip
"""Settings that stdo.train does not have."""
_LEFT_OUT = {
    "video.path": "videos=… names them",
    "study": "a catalogue has one recipe",
    "networks_alone": "it measures what no package has",
}
_TYPED_ALONE = ("plugins", "scorer.function", "optim.loss", "paths", "logger", "callbacks", "hydra")
"""Settings and groups that name code, places on the disk, or who is told of a run; ``retry`` takes
none of them from a file."""


def task(config: DictConfig) -> None:
    """Run, show or plan a catalogue; exit code 1 where a video failed."""
    folder = Folder(Path(config.out))
    if config.action == "status":
        sys.stdout.write(shown(folder, folder.listing()))
        return
    plain = _checked(config)
    if config.action in ("cache", "clear"):
        sys.stdout.write(_cache(Path(plain["paths"]["cache"]), config.action == "clear"))
        return
    if config.videos is None:
        raise UserError("videos: must be given: a folder, a list (.txt) or a pattern")
    videos = find_videos(config.videos)
    known = folder.known()
    tasks = _tasks(folder, videos, keys_of(videos, known), plain)
    if config.action == "plan":
        from stdo.cli.forecast import forecast

        sys.stdout.write(forecast(of_shard(tasks, config.shard), plain, _workers(config)))
        return
    with folder.claimed(config.shard):
        listed = {called(Path(each.video)): each.key for each in tasks}
        words = [f"videos={os.path.normpath(Path(config.videos).absolute())}", *_words()]
        folder.write_listing(
            Listing(
                [Video(key, name) for name, key in listed.items()],
                list(map(_readable, words)),
                tasks[0].recipe,
                [each for each in known if each.video not in listed],
            )
        )
        chosen = of_shard(tasks, config.shard)
        failed = _run(folder, chosen, plain, _workers(config))
    if failed:
        sys.exit(1)


def _checked(config: DictConfig) -> Json:
    """The settings as plain values. Raises UserError for those that a catalogue cannot have."""
    check(config)
    plain: Json = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    for name, why in _LEFT_OUT.items():
        value = OmegaConf.select(config, name)
        if value:
            raise UserError(f"{name}={value}: must be left out of a catalogue: {why}")
    source = HydraConfig.get().runtime.choices.get("video")
    if source != "file":
        raise UserError(f"video={source}: must be file in a catalogue")
    if not plain["deliver"]:
        raise UserError("deliver=false: must be true in a catalogue, which makes packages")
    for engine in ("ray", "slurm"):
        mine = [word for word in _words() if _name(word).startswith(f"{engine}.")]
        if mine and plain["engine"] != engine:
            raise UserError(f"{mine[0]}: needs engine={engine}")
    refuse_processes(plain["trainer"], "a catalogue")
    return plain


def _cache(cache: Path, clear: bool) -> str:
    """List the prepared videos; clear: remove those that nobody uses first, and say which."""
    from stdo.video.cache import evict, listed, screen

    removed = evict(cache, 0) if clear else []
    gone = "".join(f"removed {each.folder}\n" for each in removed)
    return gone + screen(listed(cache))


def _workers(config: DictConfig) -> int:
    """Videos at the same time: one for each core, or so many as all threads have cores."""
    return int(config.workers or max(1, usable_cores() // config.threads))


def _tasks(folder: Folder, videos: Sequence[Path], keys: Sequence[str], plain: Json) -> list[Task]:
    """One task for each video."""
    settings = {name: value for name, value in plain.items() if name not in OWN}
    out = os.path.normpath(folder.path.absolute())
    settings["paths"] = paths = dict(settings["paths"])
    own_cache = paths["cache"] == f"{plain['out']}/cache"
    if own_cache and paths["cache_limit"] is not None:
        raise UserError(
            f"paths.cache_limit={paths['cache_limit']}: needs paths.cache=…; of the catalogue's "
            "own cache, each video is removed when it is done"
        )
    for name in ("outputs", "cache"):
        paths[name] = os.path.normpath(Path(paths[name]).absolute())
    recipe, words = _recipe(settings), tuple(_for_train(_words()))
    forced, threads = uuid4().hex if plain["force"] else "", int(plain["threads"])
    return [
        Task(out, key, str(video), recipe, settings, words, threads, own_cache, forced)
        for key, video in zip(keys, videos, strict=True)
    ]


def _recipe(settings: Json) -> str:
    """A hash of every setting that shapes a package: those of the run, and how it is packed."""
    kept = shaping_settings(settings)
    packing = {"weights": settings["weights"]}
    kept |= {name: one_form(name, value) for name, value in flat(packing)}
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _run(folder: Folder, tasks: Sequence[Task], plain: Json, workers: int) -> bool:
    """Encode what is not there yet. Returns whether anything failed."""
    engine = engine_of(plain, workers)
    entries, left = _left(folder, tasks, plain["action"] == "retry")
    at_hand = len(tasks) - len(left)
    if at_hand:
        sys.stderr.write(f"{at_hand} of {videos_of(len(tasks))} left as they are\n")
    busy, wrong, late = 0, False, list[Task]()
    waiting = [each for each in left if entries.get(each.key) is None]
    count = at_hand + len(left) - len(waiting)
    with closing(engine.run(waiting)) as ended:  # whatever stops this loop stops the workers
        for each, outcome in ended if waiting else ():
            count += 1
            busy += outcome == BUSY
            entry = _ended(folder, each, outcome)
            if outcome in (DONE, FAILED) and not _is_final(entry):
                late.append(each)
            wrong |= outcome in (BUSY, FAILED)
            sys.stderr.write(f"[{count}/{len(tasks)}] {_line(each.key, entry, outcome)}\n")
    _wait_for(folder, late)
    text, failed = totals(folder, [each.key for each in tasks])
    sys.stdout.write(text)
    if busy:
        sys.stderr.write(f"{videos_of(busy)} left to other processes, which are at them\n")
    return bool(failed or wrong)


def _left(
    folder: Folder, tasks: Sequence[Task], failed_alone: bool
) -> tuple[dict[str, Entry], list[Task]]:
    """What has to be done. Videos that are not there fail now.

    Returns:
        The status of those that failed, and all tasks that are not done.
    """
    gone: dict[str, Entry] = {}
    left = []
    others = 0
    for each in tasks:
        before = _status(folder, each)
        if failed_alone and (before is None or before.state != "failed"):
            continue
        video = Path(each.video)
        if not each.forced and is_done(before, video, each.recipe, folder.package(each.key)):
            continue
        left.append(each)
        if folder.is_worked_on(each.key):  # its status is that process's
            continue
        others += before is not None and before.state == "done" and before.recipe != each.recipe
        try:
            stamp(video)
        except OSError as error:
            line = f"{each.video}: cannot be read ({error.strerror})"
            if isinstance(error, FileNotFoundError):
                line = f"{each.video}: no such file"
            gone[each.key] = _failed(folder, each, before, line)
            sys.stderr.write(printable(line) + "\n")
        else:
            _queue(folder, each, before)
    if others:
        sys.stderr.write(f"note: {others} packages here are of another recipe; made again\n")
    return gone, left


def _queue(folder: Folder, each: Task, before: Entry | None) -> None:
    if before is None:
        return
    if each.forced or before.state == DONE:  # else its processes go on
        before = replace(before, step=0, seconds=0.0, attempts=0)
    folder.write(each.key, replace(before, state="queued", error=None))


def _status(folder: Folder, each: Task) -> Entry | None:
    try:
        return folder.read(each.key)
    except UserError as error:
        sys.stderr.write(f"note: {error}; {each.key} is looked at again\n")
        return None


def _failed(folder: Folder, each: Task, before: Entry | None, line: str) -> Entry:
    entry = before or Entry(video=called(Path(each.video)), recipe=each.recipe)
    entry = replace(entry, state="failed", error=printable(line), recipe=each.recipe)
    folder.write(each.key, entry)
    return entry


def _ended(folder: Folder, each: Task, outcome: str) -> Entry | None:
    """The status of a task that has ended. One whose process died has failed."""
    entry = _status(folder, each)
    if _is_final(entry) or outcome in CODES:
        return entry
    return _failed(folder, each, entry, f"{each.video}: {outcome}")


def _is_final(entry: Entry | None) -> bool:
    return entry is not None and entry.state in (DONE, FAILED)


def _wait_for(folder: Folder, late: Sequence[Task]) -> None:
    """Wait for the status of videos that have ended: a shared disk may show it late."""
    until = time.monotonic() + _LATE
    left = list(late)
    while left and time.monotonic() < until:
        time.sleep(1.0)
        left = [each for each in left if not _is_final(_status(folder, each))]
    for each in left:
        sys.stderr.write(f"note: {each.key}: has ended; its status file does not say so yet\n")


def _line(key: str, entry: Entry | None, outcome: str) -> str:
    if outcome == BUSY:
        return f"{key}: another process is at it"
    if entry is None or not _is_final(entry):
        return f"{key}: {outcome}; its status file comes late"
    if entry.state == FAILED:
        return f"{key}: failed: {entry.error}"
    return f"{key}: {entry.psnr or 0:.2f} dB, {entry.bytes:,} bytes, {entry.seconds:.0f} s"


def _words() -> list[str]:
    """The settings of this command as typed, but for where, what to do, and ``force``, which is
    meant for this command alone."""
    words = map(as_people_type, HydraConfig.get().overrides.task)
    left_out = ("videos", "out", "action", "shard", "force")
    return [word for word in words if _name(word) not in left_out]


def _readable(word: str) -> str:
    """A word for catalogue.json, which is UTF-8. Of one that is not only the name is kept, which
    makes ``retry`` ask for the whole command."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return f"{_name(word)} (a value that is not UTF-8)"
    return word


def _name(word: str) -> str:
    """The setting that a word gives."""
    return word.lstrip("+~").partition("=")[0]


def _for_train(words: Sequence[str]) -> list[str]:
    """Of those, the settings of stdo.train that do not say where."""
    mine = (*OWN, "paths", "deliver")
    return [word for word in words if _name(word).partition(".")[0] not in mine]


def rewritten(words: Sequence[str]) -> list[str]:
    """The command line with ``action=status`` for the bare word, and for a retry the settings that
    the catalogue was made with.

    Raises:
        UserError: There is no catalogue, or it was made with settings that are typed alone.
    """
    typed = [f"action={word}" if word in ACTIONS else word for word in words]
    if "action=retry" not in typed or any(word.startswith("videos=") for word in typed):
        return typed
    out = ["catalogue", *(word.partition("=")[2] for word in typed if _name(word) == "out")][-1]
    folder = Folder(Path(place("out", out.strip("'\""))))
    saved = folder.listing().words
    for word in saved:
        if not _is_plain(word):
            raise UserError(
                f"out={folder.path}: was made with {printable(word)}, which is taken from the "
                "command line alone; give the whole command again, with retry"
            )
    given = ["force", *map(_name, typed)]  # which catalogues of before have kept
    return [*(word for word in saved if _name(word) not in given), *typed]


def _is_plain(word: str) -> bool:
    """Whether a word of a file may be part of a command, see `_TYPED_ALONE`."""
    name, equals, value = word.lstrip("+").partition("=")
    if not equals or "{" in value:
        return False
    if any(f"{name}.".startswith(f"{each}.") for each in _TYPED_ALONE):
        return False
    if name.isidentifier() and (conf_dir() / name).is_dir():
        return re.fullmatch(r"\w+", value) is not None
    return name in SETTINGS


def main() -> None:
    """Entry point of ``stdo-catalogue``."""
    prepare()
    typed = sys.argv
    try:
        with mistakes(os.environ.get("HYDRA_FULL_ERROR") == "1"):
            sys.argv = [typed[0], *rewritten(typed[1:])]
        enter(task, "catalogue")
    finally:
        sys.argv = typed
