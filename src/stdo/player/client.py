"""The player: a package in, HR frames out, without PyTorch.

    for pts, rgb_HWC in Player("movie.stdo"):
        ...

Decoding and stitching happen in Python threads, one frame each, the networks in OpenVINO; whoever
takes the frames may encode them meanwhile.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stdo.chunks.grid import PatchGrid
from stdo.core.cores import usable_cores
from stdo.core.types import I16, I64, U8, Json, UserError
from stdo.package.container import Package, complaints
from stdo.package.limits import CHUNKS, GRAPH, WEIGHTS
from stdo.package.manifest import Manifest
from stdo.package.parts import SomeLabels, labels_of, networks_of
from stdo.player.bicubic import enlarge_part
from stdo.player.isolated import Isolated
from stdo.player.lr import LrVideo
from stdo.player.memory import VIEWER, frames_held, of_decoder, of_networks

if TYPE_CHECKING:
    from stdo.player.runtime import Runtime

_GROUP = 1 << 22
"""HR pixels of the padded patches that are computed together: of a frame of 1080p all, of huge ones
a part after another."""

WAIT = 600.0
"""Seconds after which a frame that does not come counts as lost. Deep networks take long on large
frames."""

_MAX_THREADS = 64

WHOLE = 150_000
"""LR pixels of the largest padded patch: a frame of 480x270 with its halo. Larger frames run whole
in several bands."""


class Player:
    """The frames of a package in order, as often as it is iterated over.

    Args:
        path: A ``.stdo`` file or an unpacked package.
        start: In seconds; frames with ``start <= time < start + duration`` are played.
        duration: In seconds; None: to the end.
        max_network_bytes: As if only so many bytes of weights.bin had arrived: networks are taken
            in its order while they fit, patches of the others are bicubic.
        threads: Frames computed at once, None: one for each core that this process may use.
        precision: See `stdo.player.runtime.Runtime`.
        device: See `stdo.player.runtime.Runtime`.
        isolated: Decode and compute in another process, which has a limit of memory and of time and
            can neither write files nor use a network: for packages of strangers. It ends with the
            player.

    Yields (time in seconds, uint8 RGB of native size (height, width, 3)). With
    ``precision="float32"`` the pixels equal those of the server's reconstruction to one level,
    wherever playing starts.

    Raises UserError, in one line, for a package that is missing, damaged or contradicts itself,
    when it is opened or while it plays, and for settings out of range.
    """

    def __init__(
        self,
        path: str | Path | Package,
        *,
        start: float | Fraction = 0,
        duration: float | Fraction | None = None,
        max_network_bytes: int | None = None,
        threads: int | None = None,
        precision: str = "float32",
        device: str = "CPU",
        isolated: bool = False,
    ) -> None:
        if threads is not None and not 1 <= threads <= _MAX_THREADS:
            raise UserError(f"threads={threads}: must be from 1 to {_MAX_THREADS}")
        if max_network_bytes is not None and max_network_bytes < 0:
            raise UserError(f"max_network_bytes={max_network_bytes}: must be 0 or more")
        self.threads = threads or min(usable_cores(), _MAX_THREADS)
        self.package = path if isinstance(path, Package) else Package.open(path)
        self.span = _span(self.manifest, start, duration)
        # And not self, which would keep a player that is done, and its networks, until gc
        package = self.package
        self.lr = LrVideo(lambda: package.file(package.manifest.lr.member), self.manifest)
        self._apart: Isolated | None = None
        if isolated:
            told = {"start": str(start), "duration": None if duration is None else str(duration)}
            told |= {"precision": precision, "device": device}
            self._apart = self._isolated(
                told | {"max_network_bytes": max_network_bytes, "threads": self.threads}
            )
            return
        with complaints(self.package.path):
            self.networks = self._networks(max_network_bytes, precision, device)
            self._grid, self._whole = self._grids()
            self.labels = self._labels()
        self._network_of, self._scale = (
            np.asarray(self.manifest.network.network_of),
            self.manifest.scale,
        )

    def _isolated(self, settings: Json) -> Isolated:
        source = self.manifest.source
        memory = of_decoder(source.width * source.height, self.threads)
        return Isolated(
            self.package, (self.held, source.height, source.width, 3), memory, WAIT, settings
        )

    def _grids(self) -> tuple[PatchGrid, PatchGrid | None]:
        """The package's grid, and one of fewer and larger padded patches, where such give the same
        pixels sooner."""
        grid, network = self.manifest.patch_grid, self.manifest.network
        whole = grid.coarsest(min(WHOLE, self.networks.largest))
        pays = grid.halo >= network.receptive_radius and whole.pixels < grid.pixels
        one = all(part.chunks == 1 for part in self.manifest.sections)
        played = whole if pays and one else grid
        self.networks.check(played, self._memory_of_networks(VIEWER))
        return grid, whole if pays else None

    def _labels(self) -> SomeLabels:
        return labels_of(self.package.read(CHUNKS), self.manifest)

    @property
    def manifest(self) -> Manifest:
        """What the package tells of itself."""
        return self.package.manifest

    @property
    def held(self) -> int:
        """How many frames may be under way at once."""
        return frames_held(self.manifest.source.width * self.manifest.source.height, self.threads)

    def __len__(self) -> int:
        """How many frames it yields."""
        return len(self.span)

    @property
    def notes(self) -> tuple[str, ...]:
        """What this system cannot take away from an isolated player, one line each."""
        return self._apart.notes if self._apart else ()

    @property
    def apart(self) -> Isolated | None:
        """The processes of an isolated player."""
        return self._apart

    def __iter__(self) -> Iterator[tuple[Fraction, U8]]:
        if not self._apart:
            return self._computed()
        return ((pts, rgb_HWC.copy()) for pts, rgb_HWC in self.lent())

    def lent(self) -> Iterator[tuple[Fraction, U8]]:
        """As when iterated over, but each frame may change as soon as the next one is asked for."""
        if not self._apart:
            return self._computed()
        times = map(self.manifest.source.pts, self.span)
        return zip(times, self._apart.frames(len(self.span)), strict=True)

    def _computed(self) -> Iterator[tuple[Fraction, U8]]:
        pending: deque[tuple[Fraction, Future[U8]]] = deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="stdo-play")
        ahead = self.held - 1
        try:
            with complaints(self.package.path):
                for t, lr_HWC in zip(self.span, self.lr.frames(self.span.start), strict=False):
                    labels_RC = self.labels[t]
                    # Side by side, where frames would ask for one after the other
                    if t == self.span.start:
                        grid_of_it, members_of = self._plan(labels_RC)
                        for index in members_of:
                            pool.submit(self.networks.prepare, index, grid_of_it.padded_patch)
                    pending.append(
                        (self.manifest.source.pts(t), pool.submit(self.frame, lr_HWC, labels_RC))
                    )
                    if len(pending) > ahead:
                        yield _taken(pending)
                while pending:
                    yield _taken(pending)
        finally:
            pool.shutdown(cancel_futures=True)

    def frame(self, lr_HWC: U8, labels_RC: I16, out: U8 | None = None) -> U8:
        """The SR frame, uint8 (height, width, 3) of native size, of an LR frame and its patches'
        chunks.

        Args:
            out: Where it is written; None: a new array.
        """
        source = self.manifest.source
        frame = np.empty((source.height, source.width, 3), np.uint8) if out is None else out
        grid, members_of = self._plan(labels_RC)
        height, width = grid.padded_patch
        at_once = max(1, _GROUP // (height * width * self._scale**2))
        for first in range(0, grid.patches, at_once):
            self._patches(
                frame, lr_HWC, grid, members_of, range(first, min(first + at_once, grid.patches))
            )
        return frame

    def _patches(
        self, frame: U8, lr_HWC: U8, grid: PatchGrid, members_of: dict[int, I64], patches: range
    ) -> None:
        """Compute some patches of a frame, into it."""
        scale, border = self._scale, grid.halo * self._scale
        padded_patches = grid.extract(lr_HWC, patches)
        made = np.empty((len(patches), *(scale * side for side in grid.padded_patch), 3), np.uint8)
        inner = made[:, border : made.shape[1] - border, border : made.shape[2] - border]
        bicubic = np.ones(len(patches), bool)
        for index, members in members_of.items():
            here = members[(members >= patches.start) & (members < patches.stop)] - patches.start
            bicubic[here] = False
            self.networks.run(index, padded_patches, made, here.tolist())
        for at in np.flatnonzero(
            bicubic
        ).tolist():  # the chunk has no network, or it has not arrived
            top, left = grid.origins[patches.start + at]
            inner[at] = enlarge_part(lr_HWC, scale, top, left, grid.patch_h, grid.patch_w)
        grid.place(frame, inner, patches)

    def _plan(self, labels_RC: I16) -> tuple[PatchGrid, dict[int, I64]]:
        """How a frame is cut up, and its networks, where they have arrived, each with the numbers
        of its padded patches.

        A frame whose patches share one network runs whole where the halo holds all that the network
        sees: the pixels are the same, and the overlap of the halos is saved.
        """
        chosen = self._network_of[labels_RC.ravel()]
        needed = np.unique(chosen).tolist()
        grid = self._grid
        if self._whole is not None and len(needed) == 1:
            grid, chosen = self._whole, np.repeat(needed, self._whole.patches)
        return grid, {
            index: np.flatnonzero(chosen == index)
            for index in needed
            if 0 <= index < len(self.networks)
        }

    def _networks(self, max_bytes: int | None, precision: str, device: str) -> "Runtime":
        from stdo.player.runtime import Runtime

        network = self.manifest.network
        weights = networks_of(self.package.read(WEIGHTS), self.manifest, max_bytes)
        at_once = max(part.networks for part in self.manifest.sections)
        graph, scale = self.package.read(GRAPH), self.manifest.scale
        told = network.ranges or () if precision == "int8" else ()
        named = [dict(zip(network.convolutions, each, strict=True)) for each in told]
        memory = self._memory_of_networks(self.threads)
        return Runtime(
            graph,
            weights,
            scale,
            self.threads,
            precision,
            device,
            ranges=named,
            memory=memory,
            at_once=at_once,
        )

    def _memory_of_networks(self, threads: int) -> int:
        source, lr = self.manifest.source, self.manifest.lr
        return of_networks(source.width * source.height, lr.width * lr.height, threads)


def _taken(pending: "deque[tuple[Fraction, Future[U8]]]") -> tuple[Fraction, U8]:
    pts, future = pending.popleft()
    try:
        return pts, future.result(timeout=WAIT)
    except TimeoutError:
        raise UserError(f"the frame at {float(pts):g} s did not come within {WAIT:g} s") from None


def _span(manifest: Manifest, start: float | Fraction, duration: float | Fraction | None) -> range:
    """Numbers of the frames that are played. Raises UserError when there are none."""
    source = manifest.source
    begin, length = (
        _seconds("start", start),
        None if duration is None else _seconds("duration", duration),
    )
    if length is not None and length <= 0:
        raise UserError(f"duration={duration}: must be more than 0 seconds")
    first = bisect_left(range(source.frames), begin, key=source.pts)
    last = (
        source.frames
        if length is None
        else bisect_left(range(source.frames), begin + length, key=source.pts)
    )
    if first >= last:
        raise UserError(
            f"start={start} duration={duration}: no frame there; the video has "
            f"{float(source.seconds):g} s"
        )
    return range(first, last)


def _seconds(name: str, value: float | Fraction) -> Fraction:
    """Seconds, decimals as they are written: 0.1 is one tenth."""
    if not isfinite(value) or value < 0:
        raise UserError(f"{name}={value}: must be 0 or more seconds")
    return value if isinstance(value, Fraction) else Fraction(str(value))
