"""The data of the HTML report as one JSON value."""

import base64
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import numpy as np
import yaml

from stdo.core.types import F32, Json
from stdo.evaluation.crops import GAIN, HARDEST
from stdo.metrics.registry import METRICS, OTHERS, PROTOCOLS
from stdo.reporting.look import look
from stdo.reporting.names import names
from stdo.reporting.page_origin import origin, origin_notes
from stdo.reporting.publish import published
from stdo.reporting.results import EQUAL_WORK, REFERENCES, references
from stdo.reporting.runs import Run, method_name
from stdo.runs.schema import RESULT
from stdo.video.clip import PatchSize

FRAME_POINTS, CURVE_POINTS, MAP_FRAMES = 600, 100, 60
MANY_RUNS = 100
"""Beyond so many runs each has fewer points of its curves and maps, down to a sixth."""
IMAGE_BYTES = 4_000_000
"""What all crops together may weigh; a page of a few megabytes still opens at once."""


class Pool:
    """Values that several runs share are kept once, under a key made from their content."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def add(self, value: str) -> str:
        """The key of a value."""
        key = blake2b(value.encode("utf-8", "replace"), digest_size=8).hexdigest()
        self.values[key] = value
        return key


def page_data(runs: Sequence[Run], title: str, private: bool = False) -> Json:
    """Everything the page shows. Figures that do not exist are None; nothing is NaN.

    Args:
        runs: As `stdo.reporting.runs.collect` sorts them.
        title: Of the page.
        private: Whether the page tells whole paths, uncommitted changes and machines, see `origin`.
    """
    pool = Pool()
    runs = _with_own_videos(runs)
    points = names(runs)
    entries = [
        _entry(run, pool, private, _share(FRAME_POINTS, len(runs))) | {"name": name, "point": point}
        for run, name, point in zip(runs, _names(runs, points), points, strict=True)
    ]
    for run, entry in zip(runs, entries, strict=True):
        entry["against"] = _against(run, runs)
    pictured = best_of_each_method(entries)
    for index in pictured:
        entries[index]["maps"] = _maps(runs[index], pool, _share(MAP_FRAMES, len(pictured)))
    left_out = _add_crops([(runs[index], entries[index]) for index in pictured], pool)
    methods = {run.metrics["method"]: run.method for run in runs}
    return {
        "title": title,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "protocols": list(PROTOCOLS),
        "protocol_names": {name: METRICS[name].label for name in PROTOCOLS},
        "metrics": [
            {"key": name, "name": METRICS[name].label, "digits": METRICS[name].digits}
            for name in OTHERS
        ],
        "references": [{"key": key, "name": method_name(key)} for key in REFERENCES],
        "equal_work": EQUAL_WORK,
        "methods": [
            {"key": key, "name": name, "shape": look(key).marker} for key, name in methods.items()
        ],
        "origin": origin_notes(runs, private),
        "notes": _left_out_notes(len(runs), len(pictured), left_out),
        "runs": entries,
        "pool": pool.values,
    }


def _against(run: Run, runs: Sequence[Run]) -> dict[str, list[int]]:
    """Indices of the runs that a run is counted from, by method, as in results.tsv."""
    places = {id(other): index for index, other in enumerate(runs)}
    return {
        method: [places[id(other)] for other in references(run, method, runs)]
        for method in REFERENCES
    }


def _names(runs: Sequence[Run], points: Sequence[str]) -> list[str]:
    """A name of its own for every run of one video, scale and backbone; a point is what its seeds
    share."""
    seeds = [run.metrics["seed"] for run in runs]
    labels = [
        f"{point}, seed {seed}" if seed else point
        for point, seed in zip(points, seeds, strict=True)
    ]
    place_of = operator.itemgetter("video", "scale", "backbone")
    places = [place_of(run.metrics) for run in runs]
    return _told_apart(runs, labels, places, (lambda run: f", {_home(run).name[-8:]}",))


def _with_own_videos(runs: Sequence[Run]) -> list[Run]:
    """The runs; a video that was cut, shrunk or coded in another way gets another name, as no
    figure fits both."""

    def codec(run: Run) -> str:
        degrade = run.settings.get("degrade") or {}
        return f", {degrade['codec']} crf {degrade.get('crf')}" if degrade.get("codec") else ""

    additions: tuple[Callable[[Run], str], ...] = (
        lambda run: f", {run.metrics['width']}×{run.metrics['height']}",
        lambda run: f", {run.metrics['frames']} frames",
    )
    titles = [f"{run.metrics['video']}{codec(run)}" for run in runs]
    titles = _told_apart(runs, titles, [(run.metrics["scale"],) for run in runs], additions)
    return [
        replace(run, metrics=run.metrics | {"video": title})
        for run, title in zip(runs, titles, strict=True)
    ]


def _told_apart(
    runs: Sequence[Run],
    texts: list[str],
    places: Sequence[tuple[object, ...]],
    additions: Sequence[Callable[[Run], str]],
) -> list[str]:
    """Texts to which is added, one after the other, what runs of one place and text differ in."""
    for addition in additions:
        keys = list(zip(places, texts, strict=True))
        kinds: dict[object, set[str]] = {}
        for run, key in zip(runs, keys, strict=True):
            kinds.setdefault(key, set()).add(addition(run))
        several = [len(kinds[key]) > 1 for key in keys]
        added = [addition(run) if told else "" for run, told in zip(runs, several, strict=True)]
        texts = list(map(operator.add, texts, added))
    return texts


def _home(run: Run) -> Path:
    """The run directory, also of a run whose networks were measured one by one in folders of their
    own."""
    return run.directory if run.metrics["network"] is None else run.directory.parent


def _entry(run: Run, pool: Pool, private: bool, points: int) -> Json:
    metrics = run.metrics
    entry = {name: metrics.get(name) for name, field in RESULT.items() if field.page}
    entry = entry if private else published(entry)
    entry |= {
        "equal": run.reading,
        "directory": _home(run).name,
        "curves": _frame_curves(run, pool, points),
        "training": _training_curve(run),
    }
    entry |= {
        "config": pool.add(_config(run, private)),
        "origin": _kept_once(origin(run, private), pool),
    }
    entry |= {"maps": None, "crops": []}
    return _finite(entry)


def _config(run: Run, private: bool) -> str:
    """The run's configuration as YAML."""
    if private or not run.config:
        return run.config
    return str(yaml.safe_dump(published(run.settings), sort_keys=False, allow_unicode=True))


def _kept_once(found: Json, pool: Pool) -> Json:
    return found | {"diff": pool.add(found["diff"]) if found["diff"] else None}


def _finite(value: Json) -> Json:
    """The same without NaN and infinities, which JSON does not know."""

    def clean(node: object) -> object:
        if isinstance(node, dict):
            return {key: clean(child) for key, child in node.items()}
        if isinstance(node, list | tuple):
            return [clean(child) for child in node]
        return None if isinstance(node, float) and not math.isfinite(node) else node

    return {key: clean(child) for key, child in value.items()}


def best_of_each_method(entries: Sequence[Json]) -> list[int]:
    """Which runs get maps and crops: of each video and scale the best of each method, and of its
    seeds the first."""
    first: dict[tuple[object, ...], int] = {}
    for index, entry in enumerate(entries):
        key = *(entry[name] for name in ("video", "scale", "backbone", "method")), entry["point"]
        if entry["network"] is None and (
            key not in first or entry["seed"] < entries[first[key]]["seed"]
        ):
            first[key] = index
    best: dict[tuple[object, ...], int] = {}
    for index in first.values():
        key = tuple(entries[index][name] for name in ("video", "scale", "method"))
        if key not in best or entries[index]["psnr"]["frame"] > entries[best[key]]["psnr"]["frame"]:
            best[key] = index
    return sorted(best.values())


def _share(most: int, runs: int) -> int:
    """How many points or frames each of some runs has in the page."""
    return max(most // 6, most * MANY_RUNS // max(runs, MANY_RUNS))


def _frame_curves(run: Run, pool: Pool, points: int) -> Json | None:
    """PSNR of at most ``points`` frames, ours and bicubic, as lists of numbers in the pool."""
    rows = run.frames()
    if not rows:
        return None
    shown = [rows[index] for index in _spread(len(rows), points)]

    def column(name: str, digits: int) -> str:
        values = [row.get(name, math.nan) for row in shown]
        return pool.add(
            ",".join(f"{value:.{digits}f}" if math.isfinite(value) else "" for value in values)
        )

    return {
        "frame": column("frame", 0),
        "ours": column("psnr", 2),
        "bicubic": column("bicubic_psnr", 2),
    }


def _training_curve(run: Run) -> list[list[float]]:
    """(presentations, PSNR of the shown patches, seconds): means over equal stretches of
    the fit."""
    points = [(row["presentations"], row["psnr"], row["seconds"]) for row in run.curve()]
    points = [point for point in points if all(map(math.isfinite, point))]
    if not points:
        return []
    parts = np.array_split(np.array(points), min(CURVE_POINTS, len(points)))
    return [
        [round(work), round(db, 3), round(s, 2)]
        for work, db, s in (part.mean(axis=0).tolist() for part in parts)
    ]


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` indices, evenly spread, the first and the last among them."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


def _maps(run: Run, pool: Pool, most: int) -> Json | None:
    """Patch PSNR of at most ``most`` frames as hundredths of a dB, uint16 in base64, and the
    patches' edges in pixels."""
    maps = run.maps()
    if maps is None:
        return None
    frames = _spread(len(maps[0]), most)
    ours, bicubic = (pool.add(_packed(values_TRC[frames])) for values_TRC in maps)
    y, x = _edges(run, *maps[0].shape[1:])
    return {"frames": frames, "x": x, "y": y, "ours": ours, "bicubic": bicubic}


def _packed(values: F32) -> str:
    hundredths = np.clip(np.round(np.nan_to_num(values) * 100), 0, 2**16 - 1)
    return base64.b64encode(hundredths.astype("<u2").tobytes()).decode()


def _edges(run: Run, rows: int, cols: int) -> tuple[list[int], list[int]]:
    """Where the pixels that each patch owns begin and end, down and across, in HR pixels."""
    scale, height, width = (run.metrics[name] for name in ("scale", "height", "width"))
    size = run.settings.get("patches") or {}
    grid = PatchSize(size.get("height"), size.get("width")).grid(
        -(-height // scale), -(-width // scale), scale
    )
    # The configuration is not the run's own: all patches alike
    if (grid.rows, grid.cols) != (rows, cols):
        down, across = np.arange(rows + 1) * height // rows, np.arange(cols + 1) * width // cols
        return down.tolist(), across.tolist()
    down = np.append(0, grid.owned_rows[:, 1] * scale)
    across = np.append(0, grid.owned_cols[:, 1] * scale)
    return np.minimum(down, height).tolist(), np.minimum(across, width).tolist()


def _add_crops(runs: Sequence[tuple[Run, Json]], pool: Pool) -> int:
    """Give every run its first crop, then its second and so on while `IMAGE_BYTES` lasts; return
    how many did not fit.

    Those that all runs of a video have come first, so that runs can be compared.
    """
    listed = [(run, entry, _worth_showing(run.crops())) for run, entry in runs]
    spent = left_out = 0
    for rank in range(max((len(crops) for *_, crops in listed), default=0)):
        for run, entry, crops in listed:
            if rank >= len(crops):
                continue
            before = set(pool.values)
            images = {
                name: pool.add(_image(run, crops[rank], name)) for name in crops[rank]["files"]
            }
            new = set(images.values()) - before
            cost = sum(len(pool.values[key]) for key in new)
            if spent + cost > IMAGE_BYTES:
                left_out += 1
                for key in new:
                    del pool.values[key]
                continue
            spent += cost
            entry["crops"].append(_finite({**crops[rank], "files": images}))
    return left_out


def _worth_showing(crops: Sequence[Json]) -> list[Json]:
    """Those that every run has first; of the gains only such as show no place again, of whatever
    frame."""
    kept: list[Json] = []
    for crop in sorted(crops, key=lambda crop: crop["why"] != HARDEST):
        if crop["why"] != GAIN or not any(_overlap(crop, other) > 0.5 for other in kept):
            kept.append(crop)
    return kept


def _overlap(crop: Json, other: Json) -> float:
    """Which share of a crop another covers."""
    down, across = (
        min(crop[start] + crop[size], other[start] + other[size]) - max(crop[start], other[start])
        for start, size in (("top", "height"), ("left", "width"))
    )
    covered = max(0, down) * max(0, across) / (crop["height"] * crop["width"])
    return float(covered)


def _image(run: Run, crop: Json, name: str) -> str:
    return f"data:image/png;base64,{base64.b64encode(run.picture(crop, name)).decode()}"


def _left_out_notes(runs: int, pictured: int, crops: int) -> list[str]:
    notes = []
    if pictured < runs:
        notes.append(
            f"Heat maps and crops are in this page for {pictured} of {runs} runs: of each "
            "video and scale the best "
            "of each method by frame PSNR, and of several seeds the first."
        )
    if runs > MANY_RUNS:
        notes.append("As there are many runs, curves and maps show some of the frames.")
    if crops:
        notes.append(
            f"{crops} crops were left out to keep this page small; they are in the run directories."
        )
    return notes
