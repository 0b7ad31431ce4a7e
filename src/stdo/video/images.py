"""Folders of pictures as videos: any folder, and the layout of the VSD4K data set."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.error import FFmpegError

from stdo.core.types import Frame, Marks, UserError, VideoInfo
from stdo.video.colour import ToRgb, bit_depth_of, chroma_of, colour_of
from stdo.video.container import decoded, opened
from stdo.video.content import Content
from stdo.video.marks import aspect_of
from stdo.video.reader import FORMAT
from stdo.video.span import Span
from stdo.video.turn import turn_of

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Endings of the pictures that are read, in any case."""

HR_FOLDER = "DIV2K_train_HR"
"""Where VSD4K keeps its frames; the name is inherited from another data set."""

VSD4K_RATE = 30


class Pictures:
    """A list of picture files as a video of constant rate; read one at a time, upright, all of one
    size.

    Args:
        files: In the order of time.
        name: Of the video.
        rate: Pictures per second.

    Raises UserError for a picture that cannot be read or whose size differs from the first.
    """

    def __init__(
        self,
        files: Sequence[Path],
        name: str,
        rate: float | Fraction,
        span: Span,
        notes: tuple[str, ...] = (),
    ) -> None:
        if (
            isinstance(rate, bool)
            or not isinstance(rate, (int, float, Fraction))
            or not 0 < rate <= 1000
        ):
            raise UserError(
                f"video.rate={rate}: must be above 0 and at most 1000 pictures per second"
            )
        stored = Fraction(str(rate))
        self._rate, self._span = stored / span.every, span
        times = [index / stored for index in range(len(files))]
        chosen = [
            i
            for i, time in enumerate(times)
            if time >= span.start and (span.end is None or time < span.end)
        ]
        self._files = [files[i] for i in chosen[:: span.every][: span.max_frames]]
        if not self._files:
            raise span.nothing()
        self._content = Content(str(self._files[0].parent), self._files, named=True)
        first, aspect = _picture(self._files[0])
        self._turn, self._stored = turn_of(first), (first.width, first.height)
        width, height = span.size(*self._turn.size(*self._stored))
        alpha = any(part.is_alpha for part in first.format.components)
        marks = Marks(aspect=aspect_of(aspect, self._turn, self._stored, (width, height)))
        found = [
            (alpha, "transparency (alpha) is dropped"),
            (
                marks.aspect != 1,
                f"pixels are not square (aspect {marks.aspect}): players are told the aspect",
            ),
        ]
        told = tuple(line for holds, line in found if holds)
        self._info = VideoInfo(
            name=name,
            width=width,
            height=height,
            frames=len(self._files),
            rate=self._rate,
            colour=colour_of(first, picture=True),
            bit_depth=bit_depth_of(first.format),
            chroma=chroma_of(first.format),
            rotation=self._turn.degrees,
            marks=marks,
            notes=(*notes, *told, *gaps([files[i] for i in chosen])),
        )

    @property
    def info(self) -> VideoInfo:
        """What the list and the first picture tell."""
        return self._info

    def fingerprint(self) -> str:
        """Hash of names, sizes and contents of the pictures used, of rate and height: 32
        hexadecimal digits."""
        key = f"{FORMAT} pictures {self._rate} {self._span.height} {self._content.hash()}"
        return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()

    def __iter__(self) -> Iterator[Frame]:
        size = self._turn.size(self._info.width, self._info.height)
        for index, file in enumerate(self._files):
            picture, _ = _picture(file)
            turn = turn_of(picture)
            if (picture.width, picture.height) != self._stored or turn.swap != self._turn.swap:
                first = "{}x{}".format(*self._stored)
                raise UserError(
                    f"{file}: is {picture.width}x{picture.height}, the first picture is {first}"
                )
            to_rgb = ToRgb(colour_of(picture, picture=True), *size)
            yield Frame(index / self._rate, turn(to_rgb(picture)))
        self._content.check()


class ImageFolder(Pictures):
    """The pictures of a folder, in natural order (``2.png`` before ``10.png``).

    Args:
        path: The folder; its subfolders are looked at where the pattern names them.
        rate: Pictures per second.
        pattern: Which names, as a shell would match them, so that hidden ones (``._0001.png``, as
            macOS leaves them) need a dot in the pattern; among them, those that end in one of
            `SUFFIXES` are read.
        start: As in `VideoFile`.
        duration: As in `VideoFile`.
        max_frames: As in `VideoFile`.
        height: As in `VideoFile`.
        every: As in `VideoFile`.

    Raises UserError for a pattern that leads out of the folder.
    """

    def __init__(
        self,
        path: str | Path,
        rate: float | Fraction = 25,
        pattern: str = "*",
        start: float = 0.0,
        duration: float | None = None,
        max_frames: int | None = None,
        height: int | None = None,
        every: int = 1,
    ) -> None:
        span = Span.of(start, duration, max_frames, height, every)
        folder = _folder("path", path)
        files = _listed(folder, pattern)
        if not files:
            known = ", ".join(SUFFIXES)
            raise UserError(
                f"video.path={path}: no picture matches video.pattern={pattern} and ends in {known}"
            )
        super().__init__(files, os.fsencode(folder.name).decode(errors="replace"), rate, span)


class Vsd4k(Pictures):
    """One video of VSD4K: ``<root>/game/game_15s_1/DIV2K_train_HR/00001.png`` or
    ``<root>/game_15/DIV2K_train_HR/``.

    Args:
        root: The data set, or any folder above or at the video.
        topic: ``game``, ``vlog``, ``inter`` and so on
        seconds: 15, 30, 45 and so on.
        rate: The videos are of 30 frames per second.
        max_frames: As in `VideoFile`.
        height: As in `VideoFile`.

    The published folders hold, after the ``30 · seconds`` frames of the video, a second copy of
    every tenth of them for testing; these are left out, since they would be shown twice.
    """

    def __init__(
        self,
        root: str | Path,
        topic: str,
        seconds: int,
        max_frames: int | None = None,
        height: int | None = None,
        rate: float | Fraction = VSD4K_RATE,
    ) -> None:
        span = Span.of(max_frames=max_frames, height=height)
        base = _folder("root", root)
        found = [
            (*named, folder)
            for folder in _hr_folders(base)
            if (named := _topic_and_seconds(folder))
        ]
        matching = [
            folder for name, length, folder in found if name == topic and length == int(seconds)
        ]
        if len(matching) != 1:
            there = (
                ", ".join(sorted({f"{name} {length}" for name, length, _ in found}))
                or f"no {HR_FOLDER} at all"
            )
            problem = f"{len(matching)} folders match" if matching else "no folder matches"
            raise UserError(
                f"video.root={root} video.topic={topic} video.seconds={seconds}: {problem}; "
                f"there is: {there}"
            )
        files = _listed(matching[0], "*")
        if not files:
            raise UserError(f"video.root={root}: {matching[0]} holds no pictures")
        kept = files[: int(seconds) * VSD4K_RATE]
        copies = len(files) - len(kept)
        notes = (
            (f"{copies} pictures after the video's own, VSD4K's test copies, are left out",)
            if copies
            else ()
        )
        super().__init__(kept, f"{topic}_{seconds}s", rate, span, notes)


def _folder(setting: str, path: str | Path) -> Path:
    folder = Path(path).absolute()
    if not folder.is_dir():
        reason = "is not a folder" if folder.exists() else "no such folder"
        raise UserError(f"video.{setting}={path}: {reason}")
    return folder


def _listed(folder: Path, pattern: str) -> list[Path]:
    if not isinstance(pattern, str) or not pattern:
        raise UserError(f"video.pattern={pattern}: must be a pattern of names, such as *.png")
    if ".." in Path(pattern).parts or Path(pattern).is_absolute() or "\0" in pattern:
        raise UserError(
            f"video.pattern={pattern}: must match names within the folder: no .. and no "
            "absolute path"
        )
    try:
        matching = [
            file
            for file in folder.glob(pattern)
            if not is_hidden(file.relative_to(folder), pattern)
        ]
    except (ValueError, NotImplementedError, IndexError, re.error) as error:
        raise UserError(f"video.pattern={pattern}: {error}") from error
    return sorted(
        (file for file in matching if file.suffix.lower() in SUFFIXES and file.is_file()),
        key=_natural,
    )


def is_hidden(name: Path, pattern: str = "") -> bool:
    """Whether a shell would pass over a file: its name, or that of a folder on the way, begins with
    a dot.

    Args:
        name: Relative to the folder in which the pattern was looked for.
    """
    asked = [part for part in Path(pattern).parts if part.startswith(".")]
    return any(
        part.startswith(".") and not any(fnmatchcase(part, each) for each in asked)
        for part in name.parts
    )


def gaps(files: Sequence[Path]) -> list[str]:
    """A note where numbers in the names leave some out, though the pictures follow one another
    without a pause.

    Names count together that differ in their last number alone; steps of one size, such as 10, 20,
    30, are no gaps.
    """
    numbers: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    for file in files:
        found = re.fullmatch(r"(.*?)(\d+)(\D*)", file.name)
        if found:
            numbers.setdefault((found[1], found[3]), []).append((int(found[2]), file))
    missing, first = 0, None
    for group in numbers.values():
        steps = [
            (after - before, file)
            for (before, file), (after, _) in pairwise(group)
            if after > before
        ]
        least = min((step for step, _ in steps), default=1)
        missing += sum(step // least - 1 for step, _ in steps)
        wide = [file for step, file in steps if step >= 2 * least]
        first = first or next(iter(wide), None)
    if first is None:
        return []
    after = os.fsencode(first.name).decode(errors="replace")
    return [
        f"{missing} numbers are missing in the names, the first after {after}: the pictures "
        "follow without a gap"
    ]


def _natural(file: Path) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)
    ]


def _hr_folders(base: Path) -> list[Path]:
    if base.name == HR_FOLDER:
        return [base]
    levels = (HR_FOLDER, f"*/{HR_FOLDER}", f"*/*/{HR_FOLDER}", f"*/*/*/{HR_FOLDER}")
    found = [
        folder
        for level in levels
        for folder in base.glob(level)
        if not is_hidden(folder.relative_to(base))
    ]
    return sorted(folder for folder in found if folder.is_dir())


def _topic_and_seconds(folder: Path) -> tuple[str, int] | None:
    named = re.match(r"([A-Za-z]+)[_-]?(\d+)", folder.parent.name)
    return (named[1].lower(), int(named[2])) if named else None


def _picture(path: Path) -> tuple[av.VideoFrame, Fraction | None]:
    """The picture of a file, and the aspect of its pixels where it says one."""
    try:
        with opened(path) as (container, stream):
            frame = next(decoded(container, stream), None)
            aspect = stream.sample_aspect_ratio
    except (FFmpegError, OSError) as error:
        raise UserError(f"{path}: is not a picture that can be read") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if frame is None:
        raise UserError(f"{path}: is not a picture that can be read")
    return frame, aspect
