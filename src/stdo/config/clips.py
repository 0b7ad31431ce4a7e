"""Build the clip of a configuration, or of a run directory whose video may have moved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from stdo.config.places import cache_of, candidates
from stdo.config.settings import check
from stdo.config.trust import CONFIG_KEYS, load_config, refuse_foreign
from stdo.core.progress import terminal
from stdo.core.types import FrameSource, Json, UserError
from stdo.runs.directory import read_result
from stdo.video.clip import Clip

VIDEO_PATHS = ("path", "paths", "root")
"""What the sources of conf/video call the place of their video: one of these each."""


def build_clip(config: DictConfig, source: FrameSource | None = None) -> Clip:
    """The clip that settings describe; nothing is decoded yet.

    Args:
        config: Settings; ``video``, ``degrade``, ``patches`` and ``paths.cache`` are read.
        source: The video; None opens what the configuration names.
    """
    source = instantiate(config.video) if source is None else source
    degrade, patches = instantiate(config.degrade), instantiate(config.patches)
    paths = config.paths
    limit = paths.get("cache_limit")  # runs of before have none
    return Clip(source, degrade, patches, Path(paths.cache), terminal, limit)


def clip_of(
    directory: Path, cache: str | None = None, video: Mapping[str, Any] | None = None
) -> Clip:
    """The clip that a finished run was trained on.

    The folder may be a stranger's: of its configuration, only what the clip is made of is built.

    Args:
        directory: The run directory.
        cache: Where the prepared video is; None: where it was.
        video: Where the video is now: ``path``, ``paths`` or ``root``, whichever the run has; None:
            where it was.

    Raises:
        UserError: It is no finished run, its video is not found, or is another one by now.
    """
    run = load_config(directory)
    metrics = read_result(directory)
    refuse_foreign(directory, run)
    check({part: run[part] for part in CONFIG_KEYS})
    source = _own_source(run, directory, metrics, video or {})
    if cache is None:
        cache = str(cache_of(run.paths.cache, run.paths.outputs, directory, source.fingerprint()))
    run.paths.cache = cache
    # A limit is for those who prepare many; and a stranger's run must not empty our cache
    OmegaConf.update(run, "paths.cache_limit", None, force_add=True)
    clip = build_clip(run, source)
    if clip.scale != metrics["scale"]:
        raise UserError(
            f"run={directory}: config.yaml: degrade.scale={clip.scale}: must be {metrics['scale']}"
        )
    return clip


def _own_source(
    run: DictConfig, directory: Path, metrics: Json, asked: Mapping[str, Any]
) -> FrameSource:
    """The video of a finished run, at the first of its likely places where it is. Sets
    ``run.video`` to that place."""
    from stdo.evaluation.identity import check_source

    own = next((key for key in VIDEO_PATHS if key in run.video), None)
    for key, value in asked.items():
        if value is not None and key != own:
            raise UserError(f"video.{key}={value}: must be left out: this run has video.{own}")
    if own is None:
        places: list[Any] = [None]
    elif asked.get(own) is not None:
        places = [asked[own]]
    else:
        places = _places(run.video[own], run.paths.outputs, directory, f"video.{own}")

    refused: list[Exception] = []
    for place in places:
        if own is not None:
            run.video[own] = place
        try:
            source: FrameSource = instantiate(run.video)
            check_source(directory, metrics, source)
        except (UserError, InstantiationException) as error:
            refused.append(error)
        else:
            return source
    raise refused[0]


def _places(saved: Any, outputs: str, directory: Path, setting: str) -> list[Any]:
    """Where a run's video may be now, likeliest first; of several files, all are taken to have
    moved alike.

    Raises UserError where there is nothing at any of them.
    """
    if saved is None:
        return [None]  # the default clip
    if isinstance(saved, str):
        files = [saved]
    elif OmegaConf.is_list(saved):
        files = list(saved)
    else:
        files = []
    if not files or not all(isinstance(file, str) for file in files):
        raise UserError(f"{setting}={saved}: must be a text, or a list of texts")

    found = [candidates(file, outputs, directory) for file in files]
    there = []
    for move in range(max(map(len, found))):
        paths = [each[min(move, len(each) - 1)] for each in found]
        if all(path.exists() for path in paths):
            there.append(list(map(str, paths)))
    if not there:
        raise UserError(
            f"{setting}={saved}: no such file or folder; {setting}= says where this run's "
            "video is now"
        )
    return [paths[0] for paths in there] if isinstance(saved, str) else there
