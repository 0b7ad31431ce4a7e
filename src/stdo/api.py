"""The Python interface: clips, recipes and runs. `stdo` exports it lazily, so that a player loads
none of it.

    import stdo
    clip = stdo.open_clip("clip.mp4", scale=4)
    run = stdo.Recipe("bstdo", backbone="espcn", chunks=4, passes=2).train(clip)
    package = run.pack(bits=8)

Settings are those of the command line (docs/running.md), with the same defaults: `Recipe("stdo",
backbone="espcn")` on a clip trains the run, and finds the directory, of ``python -m stdo.train
method=stdo backbone=espcn video.path=…``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stdo.config.clips import build_clip, clip_of
from stdo.config.composed import configured, explained
from stdo.config.plugins import activate, with_environment
from stdo.config.words import written
from stdo.core.types import I16, UserError
from stdo.runs.directory import read_chunks, read_result
from stdo.runs.result import Result
from stdo.video.clip import Clip

if TYPE_CHECKING:
    from stdo.models.common import Backbone


_OF_CLIP = ("video", "degrade")
"""Groups of settings that say what a clip is."""
_OWN = ("method", "backbone", "chunks", "seed")
"""Settings that a `Recipe` has as attributes."""
_GIVEN = {
    "scale": "stdo.open_clip",
    "paths": "cache= and outputs=",
    "force": "force=",
} | dict.fromkeys(_OF_CLIP, "stdo.open_clip")
"""Settings that do not belong into a recipe, and where they are given."""


def open_clip(
    path: str | Path | None = None,
    scale: int = 4,
    *,
    cache: str | Path = "cache",
    settings: Mapping[str, Any] | None = None,
    plugins: str | Sequence[str] = (),
) -> Clip:
    """Open a video for training. Nothing is decoded yet.

    Args:
        path: A video file; None: the default clip. For a folder of pictures, settings={"video":
            "folder"}.
        scale: LR frames are this many times smaller on each side: 2, 3 or 4.
        cache: Folder of prepared videos; all clips may share one.
        settings: Others of ``video``, ``degrade`` and ``patches`` by their names on the command
            line, such as {"video.duration": 10, "degrade.codec": "svtav1", "degrade.crf": 35}.
        plugins: Packages of your own, where settings name something of theirs (docs/plugins.md).

    Raises:
        UserError: There is no such file, a setting is unknown or out of range, or a plugin cannot
            be imported.
    """
    activate(with_environment(plugins))
    asked = dict(settings or {})
    for name in asked:
        if name.partition(".")[0] not in (*_OF_CLIP, "patches"):
            raise UserError(f"{name}: is no setting of a clip; give it to stdo.Recipe")
        if name == "video.path" and path is not None:
            raise UserError(f"{name}: is given by path")
    own = {"scale": scale, "paths.cache": str(cache)} | asked
    if path is not None:
        own["video.path"] = str(path)
    with explained():
        # method=stdo leaves patches as they are; others add a halo
        clip = build_clip(configured({"method": "stdo"} | own))
    clip.settings = own
    return clip


@dataclass(frozen=True)
class Recipe:
    """How networks are trained on a clip.

    Attributes:
        method: One of ``awdnn``, ``nas``, ``cafm``, ``repcam``, ``eps``, ``srvc``, ``emt``,
            ``livenas``, ``stdo``, ``jstdo``, ``bstdo``.
        backbone: One of conf/backbone.
        chunks: Groups of patches; methods with one network ignore it.
        passes: How often each patch is shown, on average; None: the budget's.
        seed: Of first weights and of the order of patches.
        settings: Others by their names on the command line, such as {"optim": "muon",
            "budget.batch": 8, "deliver": True}. An ``experiment`` may degrade the video in its own
            way; the run's clip tells.
        plugins: Packages of your own that are imported and may be built (docs/plugins.md).
    """

    method: str = "bstdo"
    backbone: str = "wdsr"
    chunks: int = 4
    passes: float | None = None
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    plugins: str | Sequence[str] = ()

    def train(self, clip: Clip, outputs: str | Path = "outputs", *, force: bool = False) -> Run:
        """Train on a clip, or go on where it was left, or find the finished run.

        Args:
            clip: From `open_clip`.
            outputs: Folder of run directories.
            force: Train again where the run is finished.

        Returns:
            The finished run.

        Raises:
            UserError: A setting is unknown or out of range, does not fit the clip, a plugin cannot
                be imported, or the memory is not there.
            stdo.core.locks.BusyError: Another process is at this run.
            stdo.core.signals.Stopped: Ctrl-C, after a checkpoint: the same call resumes.
        """
        if clip.settings is None:
            raise UserError(
                "clip: must come from stdo.open_clip, whose settings the run directory keeps"
            )
        own: dict[str, Any] = {name: getattr(self, name) for name in _OWN}
        if self.passes is not None:
            own["budget.passes"] = self.passes
        for name in self.settings:
            if name in own or name == "plugins":
                raise UserError(f"{name}: must be given once, as an attribute of stdo.Recipe")
            where = _GIVEN.get(name.partition(".")[0])
            if where is not None:
                raise UserError(f"{name}: is no setting of a recipe; give it by {where}")
        own |= {**clip.settings, "paths.outputs": str(outputs), **self.settings}
        plugins = with_environment(self.plugins)
        activate(plugins)
        if plugins:
            own["plugins"] = plugins
        from stdo.cli.train import perform

        with explained():
            words = ["train.py", *(f"{name}={written(value)}" for name, value in own.items())]
            job, _ = perform(configured(own | {"force": force}), words)
        # A method may ask for other patches, such as a halo
        return Run(job.directory, job.data.clip)


class Run:
    """A finished run: its directory, and the clip that it was trained on.

    Attributes:
        directory: The run directory.
    """

    def __init__(self, directory: str | Path, clip: Clip | None = None) -> None:
        activate(with_environment(()))
        self.directory = Path(directory)
        self._clip = clip
        read_result(self.directory)

    def __repr__(self) -> str:
        return f"Run({str(self.directory)!r})"

    @classmethod
    def open(
        cls,
        directory: str | Path,
        video: str | Path | None = None,
        cache: str | Path | None = None,
        plugins: str | Sequence[str] = (),
    ) -> Run:
        """Open a finished run, which may be a stranger's: nothing that its files name is imported
        or run.

        Args:
            directory: The run directory.
            video: Where its video file is now; None: where it was, or where it went together with
                the directory.
            cache: Folder of prepared videos; None: the one it had.
            plugins: Packages of your own that the run needs; it remembers their names, and imports
                none of them.

        Raises:
            UserError: It is no finished run; or ``video`` or ``cache`` is given, and the video is
                not found, or another one. Otherwise it is looked for when `clip` is first needed.
        """
        activate(with_environment(plugins))
        if video is None and cache is None:
            return cls(directory)
        with explained():
            return cls(directory, clip_of(Path(directory), _text(cache), {"path": _text(video)}))

    @cached_property
    def clip(self) -> Clip:
        """What it was trained on. Raises UserError where its video is not found, or another one."""
        with explained():
            return self._clip or clip_of(self.directory)

    @property
    def result(self) -> Result:
        """What was measured, as the run directory holds it now."""
        return Result.of(read_result(self.directory))

    def labels(self) -> I16:
        """The chunk of each patch, (frames, rows, columns); 0 is the hardest."""
        return read_chunks(self.directory)[0]

    def networks(self) -> list[Backbone]:
        """The networks, on the CPU, ready for inference; `network_of` tells which serves which
        chunk."""
        from stdo.models.weights import load_networks
        from stdo.runs.directory import WEIGHTS

        return [network.eval() for network in load_networks(self.directory / WEIGHTS)[0]]

    def network_of(self) -> list[int]:
        """The number of each chunk's network; -1: none, its patches are enlarged bicubically."""
        return read_chunks(self.directory)[1]

    def evaluate(self, save: str | None = None, metrics: Sequence[str] = ()) -> Result:
        """Measure it again from its weights.

        Args:
            save: ``video`` or ``png`` keeps the SR frames in the run directory.
            metrics: Names of metrics beside those that are always computed: ``ms_ssim``.
        """
        from stdo.pipeline.steps import evaluate

        return Result.of(evaluate(self.directory, self.clip, save, metrics=metrics))

    def pack(self, bits: int = 8, out: str | Path | None = None) -> Packed:
        """Write what a player plays, play it, and measure what the viewer sees.

        Args:
            bits: Of a weight: 32, 16, 8, 6 or 4.
            out: The package; None: in the run directory.

        Raises:
            UserError: No package can hold the run, or the target cannot be written.
        """
        from stdo.encoder.pack import Delivery, deliver

        done = deliver(
            self.directory, self.clip, Delivery(bits, None if out is None else Path(out))
        )
        return Packed(done.path, done.metrics["bytes"], Result.of(done.metrics), done.notes)


@dataclass(frozen=True)
class Packed:
    """A written package.

    Attributes:
        path: Where it is.
        bytes: By part: ``lr``, ``audio``, ``models``, ``chunks``, ``graph``, ``manifest`` and
            ``total``.
        result: The run's result; ``result.delivered`` is what the viewer sees.
        notes: What of the source it does not hold, one line each.
    """

    path: Path
    bytes: Mapping[str, int]
    result: Result
    notes: tuple[str, ...]


def results(outputs: str | Path = "outputs") -> Any:
    """All finished runs in a folder, one row each, with the columns of results.tsv.

    Returns:
        A pandas DataFrame where pandas is installed, otherwise a list of dictionaries.

    Raises:
        UserError: There is no finished run.
    """
    from stdo.reporting.results import rows
    from stdo.reporting.runs import collect

    table = rows(collect([Path(outputs)]))
    try:
        import pandas
    except ModuleNotFoundError:
        return table
    return pandas.DataFrame(table)


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
