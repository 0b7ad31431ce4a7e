"""The Python interface: clips, recipes and runs. `stdo` exports it lazily, so that a player loads none of it.

    import stdo
    clip = stdo.open_clip("clip.mp4", scale=4)
    run = stdo.Recipe("bstdo", backbone="espcn", chunks=4, passes=2).train(clip)
    package = run.pack(bits=8)

Settings are those of the command line (docs/running.md), with the same defaults: `Recipe("stdo", backbone="espcn")`
on a clip trains the run, and finds the directory, of ``python -m stdo.train method=stdo backbone=espcn video.path=…``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stdo.clip import Clip
from stdo.doors import one_line
from stdo.opened import build_clip, clip_of
from stdo.result import Result
from stdo.rundir import read_chunks, read_result
from stdo.settings import settle
from stdo.trust import conf_dir
from stdo.types import I16, UserError

if TYPE_CHECKING:
    from stdo.models.common import Backbone


def open_clip(
    path: str | Path | None = None,
    scale: int = 4,
    *,
    cache: str | Path = "cache",
    settings: Mapping[str, Any] | None = None,
) -> Clip:
    """Open a video for training. Nothing is decoded yet.

    Args:
        path: A video file; None: the default clip. For a folder of pictures, settings={"video": "folder"}.
        scale: LR frames are this many times smaller on each side: 2, 3 or 4.
        cache: Folder of prepared videos; all clips may share one.
        settings: Others of ``video``, ``degrade`` and ``patches`` by their names on the command line, such as
            {"video.duration": 10, "degrade.codec": "svtav1", "degrade.crf": 35}.

    Raises:
        UserError: There is no such file, or a setting is unknown or out of range.
    """
    own = {"scale": scale, "paths.cache": str(cache)} | dict(settings or {})
    if path is not None:
        own["video.path"] = str(path)
    odd = [name for name in own if name.partition(".")[0] not in ("scale", "paths", "video", "degrade", "patches")]
    if odd:
        raise UserError(f"{odd[0]}: is no setting of a clip; give it to Recipe")
    with _explained():
        clip = build_clip(configured({"method": "stdo"} | own))  # which leaves patches as they are; others add a halo
    clip.settings = own
    return clip


@dataclass(frozen=True)
class Recipe:
    """How networks are trained on a clip.

    Attributes:
        method: One of ``awdnn``, ``nas``, ``cafm``, ``stdo``, ``jstdo``, ``bstdo``.
        backbone: One of conf/backbone.
        chunks: Groups of patches; methods with one network ignore it.
        passes: How often each patch is shown, on average; None: the budget's.
        seed: Of first weights and of the order of patches.
        settings: Others by their names on the command line, such as {"optim": "muon", "budget.batch": 8}.
    """

    method: str = "bstdo"
    backbone: str = "wdsr"
    chunks: int = 4
    passes: float | None = None
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def train(self, clip: Clip, outputs: str | Path = "outputs", *, force: bool = False) -> Run:
        """Train on a clip, or go on where it was left, or find the finished run.

        Args:
            clip: From `open_clip`.
            outputs: Folder of run directories.
            force: Train again where the run is finished.

        Returns:
            The finished run.

        Raises:
            UserError: A setting is unknown or out of range, does not fit the clip, or the memory is not there.
            stdo.locks.BusyError: Another process is at this run.
        """
        if clip.settings is None:
            raise UserError("clip: must come from stdo.open_clip, whose settings the run directory keeps")
        own = {"method": self.method, "backbone": self.backbone, "chunks": self.chunks, "seed": self.seed}
        own |= dict(clip.settings) | {"paths.outputs": str(outputs)} | dict(self.settings)
        if self.passes is not None:
            own["budget.passes"] = self.passes
        from stdo.jobs import build_job
        from stdo.pipeline import train

        with _explained():
            job = build_job(configured(own))
        job = replace(job, command=["train", *(f"{name}={value}" for name, value in own.items())])
        train(job, force)
        return Run(job.directory, job.data.clip)  # a method may ask for other patches, such as a halo


class Run:
    """A finished run: its directory, and the clip that it was trained on.

    Attributes:
        directory: The run directory.
    """

    def __init__(self, directory: str | Path, clip: Clip | None = None) -> None:
        self.directory = Path(directory)
        self._clip = clip
        read_result(self.directory)

    def __repr__(self) -> str:
        return f"Run({str(self.directory)!r})"

    @classmethod
    def open(cls, directory: str | Path, video: str | Path | None = None, cache: str | Path | None = None) -> Run:
        """Open a finished run, which may be a stranger's: nothing that its files name is imported or run.

        Args:
            directory: The run directory.
            video: Where its video is now; None: where it was, or where it went together with the directory.
            cache: Folder of prepared videos; None: the one it had.

        Raises:
            UserError: It is no finished run, or the video is not found, or another one.
        """
        moved = None if video is None else {"path": str(video)}
        found = None if video is None and cache is None else clip_of(Path(directory), _text(cache), moved)
        return cls(directory, found)

    @cached_property
    def clip(self) -> Clip:
        """What it was trained on. Raises UserError where its video is not found, or another one."""
        return self._clip or clip_of(self.directory)

    @property
    def result(self) -> Result:
        """What was measured, as the run directory holds it now."""
        return Result.of(read_result(self.directory))

    def labels(self) -> I16:
        """The chunk of each patch, (frames, rows, columns); 0 is the hardest."""
        return read_chunks(self.directory)[0]

    def networks(self) -> list[Backbone]:
        """The networks, on the CPU, ready for inference; `network_of` tells which serves which chunk."""
        from stdo.models.weights import load_networks
        from stdo.rundir import WEIGHTS

        return [network.eval() for network in load_networks(self.directory / WEIGHTS)[0]]

    def network_of(self) -> list[int]:
        """The number of each chunk's network; -1: none, its patches are enlarged bicubically."""
        return read_chunks(self.directory)[1]

    def evaluate(self, save: str | None = None) -> Result:
        """Measure it again from its weights.

        Args:
            save: ``video`` or ``png`` keeps the SR frames in the run directory.
        """
        from stdo.pipeline import evaluate

        return Result.of(evaluate(self.directory, self.clip, save))

    def pack(self, bits: int = 8, out: str | Path | None = None) -> Packed:
        """Write what a player plays, play it, and measure what the viewer sees.

        Args:
            bits: Of a weight: 32, 16, 8, 6 or 4.
            out: The package; None: in the run directory.

        Raises:
            UserError: No package can hold the run, or the target cannot be written.
        """
        from stdo.delivery.deliver import Delivery, deliver

        done = deliver(self.directory, self.clip, Delivery(bits, None if out is None else Path(out)))
        return Packed(done.path, done.metrics["bytes"], Result.of(done.metrics), done.notes)


@dataclass(frozen=True)
class Packed:
    """A written package.

    Attributes:
        path: Where it is.
        bytes: By part: ``lr``, ``audio``, ``models``, ``chunks``, ``graph``, ``manifest`` and ``total``.
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


def configured(settings: Mapping[str, Any]) -> DictConfig:
    """The configuration of a training command with these settings.

    Args:
        settings: By their names on the command line. Names of folders of conf/ choose one of their files.

    Raises:
        UserError: A setting or a choice is not there.
    """
    chosen = [name for name in settings if (conf_dir() / name).is_dir()]
    with _explained(), initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        config = compose("train", [f"{name}={settings[name]}" for name in chosen])
        for name, value in settings.items():
            if name not in chosen:
                _put(config, name, value)
    settle(config)
    return config


def _put(config: DictConfig, name: str, value: Any) -> None:
    known = _names(OmegaConf.to_container(config, resolve=False))
    if name not in known:
        near = get_close_matches(name, known, 1)
        raise UserError(f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    OmegaConf.update(config, name, value)


def _names(settings: Any, above: str = "") -> list[str]:
    """The names of all settings, with those of the groups that they are in."""
    found = []
    for key, value in settings.items():
        found.append(f"{above}{key}")
        if isinstance(value, dict):
            found += _names(value, f"{above}{key}.")
    return found


@contextmanager
def _explained() -> Iterator[None]:
    """Raise what Hydra complains of as UserError, in one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from error


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
