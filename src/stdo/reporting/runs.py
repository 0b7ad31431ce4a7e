"""Finished runs, read back from their directories."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from stdo.core.foreign import printable, read_file
from stdo.core.types import F32, Json, UserError
from stdo.reporting.videos import RAW, own_names
from stdo.runs.directory import MAPS, RESULT
from stdo.runs.files import (
    MAX_JSON,
    harmless,
    read_arrays,
    read_config,
    read_crop,
    read_crops,
    read_jobs,
    read_metrics,
    read_provenance,
    read_table,
    settings_of,
)
from stdo.runs.schema import NEEDED_BY_REPORT
from stdo.runs.setting import Role
from stdo.runs.settings import flat, is_neutral, role_of
from stdo.runs.sweeps import files_of

CONFIG = "config.yaml"
EQUAL = "budget.equal"

NAMES = {
    "awdnn": "awDNN", "nas": "NAS", "cafm": "CaFM", "repcam": "RepCaM", "eps": "EPS",
    "srvc": "SRVC", "emt": "EMT", "livenas": "LiveNAS",
    "stdo": "STDO", "jstdo": "JSTDO", "bstdo": "B-STDO",
}  # fmt: skip
"""How the methods are written, in the order in which they are shown; others follow, in capitals."""

_SHAPING_FACTS = ("method", "chunks", "network", "passes", "frames", "width", "height", "precision")
_CURVE_ROWS = 1_000_000
_MAX_DEPTH = 32
"""Folders below the one that is searched for runs."""

_SINCE = {"backbone.width": 1, "backbone.network.width": 1, "sharing.bicubic_chunks": 0}
"""Settings that runs of earlier versions do not have, and what they would say."""


def method_name(method: str) -> str:
    """How a method is written: ``awDNN``, ``STDO``."""
    return NAMES.get(method, method.upper())


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run.

    Attributes:
        directory: Where it lies.
        metrics: The content of metrics.json.
        provenance: That of provenance.json, empty where there is none.
        config: Its configuration as YAML text.
    """

    directory: Path
    metrics: Json
    provenance: Json
    config: str

    @cached_property
    def settings(self) -> Json:
        """The configuration as nested dicts; empty where there is none."""
        return settings_of(self.config, f"{self.directory}: {CONFIG}")

    @property
    def method(self) -> str:
        """The method's name as it is written: ``awDNN``, ``STDO``."""
        return method_name(self.metrics["method"])

    @property
    def name(self) -> str:
        """Method and what sets it apart from others of its kind, whatever the seed: ``JSTDO k=4
        ratios 1 .5 .25 0``."""
        facts = self.metrics
        text = self.method if facts["chunking"] == "whole" else f"{self.method} k={facts['chunks']}"
        if facts.get("bicubic_chunks"):
            text += f", {facts['bicubic_chunks']} bicubic"
        asked = self.settings.get("sampler") or {}
        for sampling in ("ratios", "weights"):
            if asked.get(sampling):
                text += f" {sampling} " + " ".join(
                    f"{each:.2g}".replace("0.", ".") for each in asked[sampling]
                )
        if facts.get("crop"):
            text += f", crops of {facts['crop']}"
        if facts.get("whole"):
            text += ", whole frames"
        if facts["scorer"] != "bicubic" and facts["chunking"] == "score":
            text += f", scorer {facts['scorer']}"
        if facts.get("shortened"):
            text += f", {facts['steps']} of {facts.get('planned_steps', '?')} steps"
        return text if facts["network"] is None else f"{text}, network {facts['network']} alone"

    @property
    def label(self) -> str:
        """The name, and the seed where it is not 0: ``STDO k=4, seed 1``."""
        return f"{self.name}, seed {self.metrics['seed']}" if self.metrics["seed"] else self.name

    @property
    def reading(self) -> str | None:
        """The reading of equal work, ``steps`` or ``batch``; None where no networks train side by
        side, so that both are the same. Runs of before do not say it: they gave each network the
        whole batch."""
        facts = self.metrics
        if "equal" in facts:
            return facts["equal"]  # type: ignore[no-any-return]
        shared = facts["patch_presentations"] > facts["steps"] * facts["batch"]
        return "batch" if shared else None

    @cached_property
    def shaping(self) -> dict[str, str]:
        """Every setting that shapes the result, but for the seed and nulls: ``patches.halo`` ->
        ``4``."""
        facts = {key: str(self.metrics[key]) for key in _SHAPING_FACTS} | {
            key: str(value) for key, value in _SINCE.items()
        }
        given = {
            key: str(value)
            for key, value in flat(self.settings)
            if not is_neutral(key, value) and role_of(key) not in (Role.NONE, Role.SEED)
        }
        return facts | given | ({EQUAL: self.reading} if self.reading else {})

    def frames(self) -> list[dict[str, float]]:
        """frames.csv: one row a frame; NaN where a figure does not exist. Empty when there is no
        such file."""
        return read_table(
            self.directory, "frames.csv", ("frame", "psnr"), int(self.metrics["frames"])
        )

    def curve(self) -> list[dict[str, float]]:
        """curves.csv: step, presentations, seconds, loss, psnr, lr. Empty when there is no such
        file."""
        return read_table(
            self.directory, "curves.csv", ("presentations", "psnr", "seconds"), _CURVE_ROWS
        )

    def maps(self) -> tuple[F32, F32] | None:
        """Patch PSNR in dB of our result and of bicubic, float32 (T, rows, cols); None when they
        were not kept."""
        wanted = {"ours": ("f", 3), "bicubic": ("f", 3)}
        try:
            found = read_arrays(self.directory, MAPS, wanted, int(self.metrics["patches"]))
        except FileNotFoundError:
            return None
        if found["ours"].shape != found["bicubic"].shape or any(
            np.isinf(each).any() for each in found.values()
        ):
            raise UserError(
                f"{self.directory / MAPS}: damaged; its maps differ in size, or hold infinities"
            )
        return found["ours"], found["bicubic"]

    def crops(self) -> list[Json]:
        """The entries of crops/crops.json, whose files `picture` reads; empty where there is no
        such file."""
        return harmless(read_crops(self.directory))  # type: ignore[no-any-return]

    def picture(self, crop: Json, name: str) -> bytes:
        """The PNG of one of `crops`: ``truth``, ``bicubic`` or ``ours``."""
        return read_crop(self.directory, crop, name)


def collect(where: Iterable[Path]) -> list[Run]:
    """Read finished runs, each once: by video, scale, backbone, method, chunks and seed.

    A run's evaluations of one network alone come with it. Unfinished runs that were not named
    themselves are left out and counted on stderr; a run that cannot be read is left out with a line
    of its own, unless none is left.

    Args:
        where: Run directories, folders that are searched for run directories, and sweep files
            or folders of such (``<outputs>/sweeps/<study>``).

    Raises:
        UserError: A path is not there, or there is no finished run that can be read.
    """
    found: dict[Path, Run] = {}
    bad: dict[Path, str] = {}
    unfinished = 0
    paths = [Path(path) for path in where]
    if not paths:
        raise UserError("runs=[]: name run directories, folders of them, or sweep files")
    for path in paths:
        for directory in _directories(path):
            if directory is not None and os.path.lexists(directory / RESULT):
                _add(found, bad, directory)
            elif directory == path:
                raise UserError(f"runs={path}: is not finished (no {RESULT} in it)")
            else:
                unfinished += 1
    if bad and not found:
        others = f"; and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise UserError(f"{next(iter(bad.values()))}{others}")
    if not found:
        raise UserError(f"runs={', '.join(map(str, paths))}: no finished run there")
    say_left_out(list(bad.values()))
    if unfinished:
        sys.stderr.write(
            f"note: {unfinished} unfinished {'run is' if unfinished == 1 else 'runs are'} left "
            "out\n"
        )
    return sorted(_with_own_videos(list(found.values())), key=_order)


def _with_own_videos(runs: Sequence[Run]) -> list[Run]:
    """The runs, each under the name that its video has among them."""
    videos = own_names([run.metrics for run in runs])
    return [
        run
        if video == run.metrics["video"]
        else replace(run, metrics=run.metrics | {"video": video, RAW: run.metrics["video"]})
        for run, video in zip(runs, videos, strict=True)
    ]


def _add(found: dict[Path, Run], bad: dict[Path, str], directory: Path) -> None:
    """Read a run, or keep why it cannot be read."""
    place = directory.resolve()
    if place in found or place in bad:
        return
    try:
        found[place] = _read(directory)
    except UserError as error:
        bad[place] = str(error)
    except OSError as error:
        bad[place] = f"runs={directory}: cannot be read ({error.strerror})"


def say_left_out(reasons: Iterable[str]) -> None:
    """One line on stderr for each run that is not in the report."""
    for reason in reasons:
        sys.stderr.write(f"note: a run is left out: {printable(reason)}\n")


def _order(run: Run) -> tuple[object, ...]:
    facts = run.metrics
    methods = list(NAMES)
    place = methods.index(facts["method"]) if facts["method"] in methods else len(methods)
    network = -1 if facts["network"] is None else int(facts["network"])
    names = facts["video"], facts["scale"], facts["backbone"], place, facts["method"]
    return (
        *names,
        facts["chunks"],
        network,
        run.reading or "",
        run.label,
        facts["seed"],
        str(run.directory),
    )


def _directories(path: Path) -> Iterator[Path | None]:
    """Run directories, finished or not, that a path stands for; None for a job that never
    got one."""
    jobs = files_of(path)
    if path.is_file():
        runs = _of_sweep(path)
    elif jobs:
        runs = chain.from_iterable(map(_of_sweep, jobs))
    elif path.is_dir():
        runs = _below(path)
    else:
        raise UserError(f"runs={path}: no such file or folder")
    for run in runs:
        yield run
        if run is not None:
            yield from _alone(run)


def _alone(run: Path) -> list[Path]:
    """Where the networks of a run were measured one by one: ``network-0`` and so on."""
    found = run.glob("network-*") if _is_folder(run) else ()
    return sorted(
        part for part in found if part.is_dir() and (part.is_symlink() or (part / RESULT).exists())
    )


def _below(folder: Path) -> Iterator[Path | None]:
    depth = len(folder.parts)
    for here, inside, files in os.walk(folder):
        if RESULT in files or CONFIG in files:
            inside.clear()  # a run directory holds no others, but for its own network-N
            yield Path(here)
        if len(Path(here).parts) - depth >= _MAX_DEPTH:
            inside.clear()
        inside[:] = sorted(name for name in inside if not name.startswith("."))


def _of_sweep(file: Path) -> Iterator[Path | None]:
    """The run directories of a sweep, also when the folder of outputs was moved as a whole."""
    try:
        jobs = read_jobs(file, read_file(file, MAX_JSON))
    except (OSError, UserError) as error:
        raise UserError(f"runs={file}: is not a sweep file (outputs/sweeps/<study>)") from error
    for job in jobs:
        if not job["directory"] or "\0" in job["directory"]:
            yield None
            continue
        path = Path(job["directory"])
        moved = _outputs_of(file) / path.parent.name / path.name
        yield moved if _is_folder(moved) else path


def _outputs_of(file: Path) -> Path:
    """The folder of outputs that a sweep file lies in: ``<outputs>/sweeps/<name>/<job>.json``, or
    ``<outputs>/sweeps/<name>.json`` of earlier versions."""
    folder = file.absolute().parent
    return folder.parent if folder.name == "sweeps" else folder.parent.parent


def _is_folder(path: Path) -> bool:
    """Whether there is such a folder; a sweep file may name what no disk can hold."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _read(directory: Path) -> Run:
    """One run. Its texts are made harmless to a terminal here, once for all that shows them."""
    alone = re.fullmatch(r"network-\d+", directory.name)
    if alone and directory.is_symlink():
        raise UserError(f"{directory}: is a symbolic link")
    metrics = read_metrics(directory)
    lacking = sorted(NEEDED_BY_REPORT - metrics.keys())
    if lacking:
        shown = ", ".join(lacking[:4])
        raise UserError(
            f"runs={directory}: is of another version (no {shown} in its {RESULT}); train it again"
        )
    home = directory.parent if alone else directory
    try:
        config = read_config(home)
    except FileNotFoundError:
        config = ""
    run = Run(directory, harmless(metrics), harmless(read_provenance(home)), config)
    _ = run.settings  # checked here, so that nobody who uses it can fail
    return run
