"""Encode many videos by one recipe: ``python -m stdo.catalogue videos=films out=packages``."""

from __future__ import annotations

import dataclasses
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
from omegaconf import DictConfig, OmegaConf

from stdo.cli.app import enter
from stdo.cli.board import shown, totals, videos_of
from stdo.cli.engines import engine_of
from stdo.cli.mistakes import mistakes
from stdo.cli.outcomes import ended_status, fail, is_final, line_of, queue, status_of
from stdo.cli.splits import whole_videos
from stdo.cli.task import BUSY, DONE, FAILED, Task
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
    "videos", "out", "action", "engine", "shard", "split", "workers", "threads", "retries",
    "resources", "ray", "slurm",
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
    task = Task(
        out,
        "",
        "",
        recipe,
        settings,
        words,
        threads=int(plain["threads"]),
        own_cache=own_cache,
        split=plain["split"]["seconds"],
        forced=uuid4().hex if plain["force"] else "",
    )
    return [
        dataclasses.replace(task, key=key, video=str(video))
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
    # Whatever stops this loop stops the workers
    with closing(whole_videos(engine.run(waiting), waiting)) as ended:
        for each, outcome in ended if waiting else ():
            count += 1
            busy += outcome == BUSY
            entry = ended_status(folder, each, outcome)
            if outcome in (DONE, FAILED) and not is_final(entry):
                late.append(each)
            wrong |= outcome in (BUSY, FAILED)
            sys.stderr.write(f"[{count}/{len(tasks)}] {line_of(each.key, entry, outcome)}\n")
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
        before = status_of(folder, each)
        if failed_alone and (before is None or before.state != "failed"):
            continue
        video = Path(each.video)
        if not each.forced and _is_there(each, before):
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
            gone[each.key] = fail(folder, each, before, line)
            sys.stderr.write(printable(line) + "\n")
        else:
            queue(folder, each, before)
    if others:
        sys.stderr.write(f"note: {others} packages here are of another recipe; made again\n")
    return gone, left


def _is_there(each: Task, entry: Entry | None) -> bool:
    package = Folder(Path(each.out)).package(each.key)
    return is_done(entry, Path(each.video), each.recipe, package, each.split)


def _wait_for(folder: Folder, late: Sequence[Task]) -> None:
    """Wait for the status of videos that have ended: a shared disk may show it late."""
    until = time.monotonic() + _LATE
    left = list(late)
    while left and time.monotonic() < until:
        time.sleep(1.0)
        left = [each for each in left if not is_final(status_of(folder, each))]
    for each in left:
        sys.stderr.write(f"note: {each.key}: has ended; its status file does not say so yet\n")


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
