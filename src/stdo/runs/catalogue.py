"""The folder of a catalogue: which videos it has, and one status file for each.

::

    <out>/<key>.stdo             the package of a video
    <out>/catalogue.json         the videos, and the settings that all share
    <out>/status/<key>.json      how far the video is
    <out>/logs/<key>.log         what its processes printed
    <out>/runs, <out>/cache      run directories and prepared videos, unless paths.… says otherwise
"""

from __future__ import annotations

import hashlib
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from stdo.core.checked import checked
from stdo.core.files import atomic, hold
from stdo.core.foreign import parse_json, printable, read_below
from stdo.core.locks import exclusive
from stdo.core.types import UserError
from stdo.runs.directory import file_name
from stdo.runs.schema import Db, Long, Natural, Seconds, Word

LISTING = "catalogue.json"
SUFFIX = ".stdo"
WORKING = ("preparing", "training", "packing")
"""States in which a process is at the video."""
State = Literal["queued", "preparing", "parts", "training", "packing", "done", "failed"]
"""``parts``: of a long video whose parts are encoded, each with a status of its own."""

_MAX_STATUS, _MAX_LISTING = 1 << 16, 1 << 28
_LONGEST = 60
_ASKED = 1.0
"""Seconds that a lock is waited for: `Folder.is_worked_on` holds it for a moment."""
_TEXT = 5000
"""Characters of a text of a status: more than a path has; of an error, nobody reads more."""

Read = TypeVar("Read", bound=Struct)


class Entry(Struct, kw_only=True):
    """How far one video is.

    Attributes:
        video: What it is called, see `called`.
        recipe: Hash of the settings that shape the package.
        size: Bytes of the video.
        mtime: When the video was written, in nanoseconds; compared for equality alone.
        step: Steps that are done, of ``steps``.
        psnr: dB; while training of the step's patches, in the end of what a viewer sees.
        eta: Seconds that training will take yet.
        error: The line of what failed.
        bytes: Of the package.
        seconds: Of the processes that made it, from start to end.
        attempts: How many processes have been at it.
        run: The run directory.
        length: Seconds of the video, as far as that was known beforehand; 0: not known.
        parts: Into how many it was split.
        split: Longest part in seconds, where it was split.
        forced: The command with ``force=true`` whose training it is, if any.
    """

    video: Long
    recipe: Word
    size: Natural = 0
    mtime: int = 0
    state: State = "queued"
    step: Natural = 0
    steps: Natural = 0
    psnr: Db | None = None
    eta: Seconds | None = None
    error: Long | None = None
    bytes: Natural = 0
    seconds: Seconds = 0.0
    attempts: Natural = 0
    run: Long | None = None
    length: Seconds = 0.0
    parts: Natural = 0
    split: Seconds | None = None
    forced: Word = ""


class Video(Struct):
    """A video of a catalogue, and what its files are called."""

    key: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[\w.-]+\Z")]
    video: Long


Videos = Annotated[list[Video], Meta(max_length=1_000_000)]


class Listing(Struct):
    """catalogue.json.

    Attributes:
        videos: Those of the last command.
        words: Of that command, but for where it works.
        recipe: Hash of the settings that shape a package.
        former: Videos of commands before. Their names stay theirs.
    """

    videos: Videos
    words: Annotated[list[Long], Meta(max_length=1000)]
    recipe: Word
    former: Videos = []


@dataclass(frozen=True)
class Folder:
    """The files of a catalogue.

    Attributes:
        path: Its folder.
    """

    path: Path

    def package(self, key: str) -> Path:
        """The package of a video."""
        return self.path / f"{key}{SUFFIX}"

    def log(self, key: str) -> Path:
        """What the processes of a video printed."""
        return self.path / "logs" / f"{key}.log"

    def read(self, key: str) -> Entry | None:
        """The status of a video; None where nothing has been done.

        Raises:
            UserError: The file is damaged.
        """
        try:
            entry = _read(self.path / "status", f"{key}.json", _MAX_STATUS, Entry)
        except FileNotFoundError:
            return None
        return _for_people(entry)

    def write(self, key: str, entry: Entry) -> None:
        """Replace the status of a video. Its texts are cut so that they can be read again."""
        entry = _for_people(entry)
        (self.path / "status").mkdir(parents=True, exist_ok=True)
        with atomic(self.path / "status" / f"{key}.json") as partial:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(entry), indent=1) + b"\n")

    def listing(self) -> Listing:
        """The videos. Raises UserError where there is no catalogue, or it is damaged."""
        try:
            return _read(self.path, LISTING, _MAX_LISTING, Listing)
        except FileNotFoundError:
            raise UserError(f"out={self.path}: holds no catalogue (no {LISTING} in it)") from None

    def known(self) -> list[Video]:
        """Every video that has a name here, of this command or of those before; of their status
        files where catalogue.json cannot be read."""
        try:
            listing = self.listing()
        except UserError as error:
            if (self.path / LISTING).exists():
                sys.stderr.write(f"note: {error}; it is written again\n")
        else:
            return [*listing.videos, *listing.former]
        found = []
        for path in sorted((self.path / "status").glob("*.json")):
            with suppress(UserError):
                entry = self.read(path.stem)
                found += [Video(path.stem, entry.video)] if entry else []
        return found

    def write_listing(self, listing: Listing) -> None:
        """Replace catalogue.json. Raises UserError for what could not be read again."""
        content = msgspec.json.format(msgspec.json.encode(listing), indent=1) + b"\n"
        checked(msgspec.json.decode(content), Listing, printable(str(self.path / LISTING)))
        with atomic(self.path / LISTING) as partial:
            partial.write_bytes(content)

    @contextmanager
    def claimed(self, shard: str | None) -> Iterator[None]:
        """Be the only catalogue, or the only one of this shard, that works in the folder.

        Raises:
            stdo.core.locks.BusyError: Another one does.
            UserError: The folder cannot be written.
        """
        name = ".lock" if shard is None else f".shard-{shard.replace('/', '-of-')}.lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = exclusive(self.path / name, "this catalogue is being encoded", wait=0)
            with lock:
                yield
        except OSError as error:
            if error.filename is None or not str(error.filename).startswith(str(self.path)):
                raise
            raise UserError(f"out={self.path}: cannot be written ({error.strerror})") from error

    @contextmanager
    def at_video(self, key: str) -> Iterator[None]:
        """Be the only process at a video. Raises `stdo.core.locks.BusyError` where another is."""
        (self.path / "status").mkdir(parents=True, exist_ok=True)
        with exclusive(self._lock(key), f"{key} is being encoded", _ASKED):
            yield

    def is_worked_on(self, key: str) -> bool:
        """Whether a process is at a video; True where the file system has no locks to tell."""
        try:
            descriptor = os.open(self._lock(key), os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            return not hold(descriptor, shared=True)  # others may be asking the same
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)

    def _lock(self, key: str) -> Path:
        return self.path / "status" / f".{key}.lock"


def _read(folder: Path, name: str, most: int, kind: type[Read]) -> Read:
    place = str(folder / name)
    return checked(parse_json(read_below(folder, name, most), printable(place)), kind, place)


def _for_people(entry: Entry) -> Entry:
    """An entry whose texts neither steer a terminal nor are longer than anybody reads."""
    texts = {name: value for name, value in asdict(entry).items() if isinstance(value, str)}
    return replace(entry, **{name: printable(text)[:_TEXT] for name, text in texts.items()})


def called(video: Path) -> str:
    """What a catalogue calls a video: its path, with a hash where that cannot be printed as it is,
    so that no two have one name."""
    shown = printable(str(video))
    return shown if shown == str(video) else f"{shown} ({_digest(video)})"


def keys_of(videos: Sequence[Path], known: Sequence[Video] = ()) -> list[str]:
    """What the files of each video are called: its name, and a hash of its path where two are
    alike.

    Args:
        videos: All videos, each once.
        known: Those that have a key. It stays theirs, and no other video gets it.

    >>> keys_of([Path("a/My film.mp4"), Path("b/other.mkv")])
    ['My_film', 'other']
    >>> keys_of([Path("a/film.mp4"), Path("b/other.mkv")], [Video("other", "b/other.mkv")])
    ['film', 'other']
    """
    given: dict[str, str] = {}
    taken: set[str] = set()
    for each in known:
        if _alike(each.key) not in taken:
            given.setdefault(each.video, each.key)
            taken.add(_alike(each.key))
    count = Counter(_alike(_key(video)) for video in videos if called(video) not in given)
    for video in videos:
        if called(video) in given:
            continue
        key, size = _key(video), 4
        if count[_alike(key)] > 1:
            key = f"{key}-{_digest(video)}"
        while _alike(key) in taken:
            key, size = f"{_key(video)}-{_digest(video, size)}", size + 4
        given[called(video)] = key
        taken.add(_alike(key))
    return [given[called(video)] for video in videos]


def _key(video: Path) -> str:
    name = file_name(printable(video.stem)).lstrip(".")
    while len(name.encode()) > _LONGEST:
        name = name[:-1]
    return name or "video"


def _alike(name: str) -> str:
    """Names that some file systems take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _digest(video: Path, size: int = 4) -> str:
    return hashlib.blake2b(os.fsencode(video.absolute()), digest_size=size).hexdigest()


def is_done(
    entry: Entry | None, video: Path, recipe: str, package: Path, split: float | None = None
) -> bool:
    """Whether the package of a video is there, made of this content by this recipe, in parts of
    ``split`` seconds where it is longer.

    Content is judged by size and time, without reading it: a run whose content is the same after
    all is found by its directory, and only packed again.
    """
    if entry is None or entry.state != "done" or entry.recipe != recipe:
        return False
    is_long = split is not None and entry.length > split
    if entry.video != called(video) or entry.split != (split if is_long else None):
        return False
    with suppress(OSError):
        made_of = (entry.size, entry.mtime)
        return stamp(video) == made_of and package.stat().st_size == entry.bytes
    return False


def stamp(video: Path) -> tuple[int, int]:
    """Size in bytes and time of writing in nanoseconds. Raises OSError."""
    found = video.stat()
    return found.st_size, found.st_mtime_ns
