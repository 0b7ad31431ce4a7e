"""What is fuzzed: every reader of files that may be a stranger's, each as a function of the bytes
of one file.

A target may raise `UserError`, or return. Anything else is a fault: another exception, more memory
than `MEMORY`, more seconds than `SECONDS`. Targets use public functions alone, so that they stand
when the code behind them is rewritten.
"""

import atexit
import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
MEMORY = 1 << 30
"""Bytes that a target may take beside what the idle process has."""
SECONDS = 10
MOST = 1 << 17
"""Bytes of an input; larger ones find little more and take long."""

Target = Callable[[bytes], Any]


@dataclass(frozen=True)
class Kind:
    """A target. form: how its input is built, for mutations that keep it well-formed: bytes, json,
    yaml or zip."""

    run: Target
    form: str = "bytes"


@cache
def folder() -> Path:
    """A folder for the files of this process; in memory where the system has such a place."""
    shared = Path("/dev/shm")
    path = Path(
        tempfile.mkdtemp(prefix="stdo-fuzz-", dir=shared if os.access(shared, os.W_OK) else None)
    )
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


# --- packages ---


def manifest(data: bytes) -> Any:
    """manifest.json, with the digest that belongs to it."""
    from stdo.package.manifest import from_json, to_json

    text = data.rstrip()
    found = from_json(b'%b,"sha256":"%b"}' % (text[:-1], hashlib.sha256(text).hexdigest().encode()))
    source = found.source
    assert source.pts(0) == 0 and float(source.seconds) > 0
    assert float(source.pts(source.frames - 1)) >= 0
    assert found.patch_grid.patches > 0
    assert from_json(to_json(found)) == found
    return found


def container(data: bytes) -> Any:
    """A whole package as a file."""
    from stdo.package.container import Package

    path = folder() / "package.stdo"
    path.write_bytes(data)
    package = Package.open(path)
    for name in package.manifest.names[1:]:
        with package.file(name) as file:
            assert len(package.read(name)) == file.seek(0, io.SEEK_END)
    assert package.sizes()["total"] == len(data)
    return package


TINY = (
    ("first.weight", (4, 3, 3, 3)),
    ("first.bias", (4,)),
    ("last.weight", (12, 4, 3, 3)),
    ("last.bias", (12,)),
)
WIDE = (*((f"layer{i}.weight", (64, 64, 3, 3)) for i in range(16)), ("bias", (4096,)))
NETWORKS = (
    (TINY, 2, 8),
    (TINY, 1, 6),
    (TINY, 3, 8),
    (TINY, 1, 32),
    (TINY, 3, 16),
    (TINY, 2, 4),
    (WIDE, 64, 8),
)
"""Parameters, number of networks and bits that the first byte of an input chooses from; the last
are large."""


def weights(data: bytes) -> Any:
    """weights.bin behind one byte that says what the manifest says."""
    from stdo.package.weights import decode

    params, networks, bits = NETWORKS[data[0] % len(NETWORKS)] if data else NETWORKS[0]
    found = list(decode(data[1:], params, networks, bits))
    assert len(found) == networks
    return found


SHAPES = (
    ((4, 3, 5), 2),
    ((4, 3, 5), 3),
    ((4, 1, 1), 1),
    ((300, 4, 4), 4),
    ((5, 512, 512), 1000),
    ((9, 1, 1), 32767),
)
"""Frames, rows and columns of patches, and chunks."""


def chunks(data: bytes) -> Any:
    """chunks.bin behind one byte that says what the manifest says."""
    from stdo.package.labels import Labels

    shape, number = SHAPES[data[0] % len(SHAPES)] if data else SHAPES[0]
    labels = Labels(data[1:], shape, number)
    for t in (0, len(labels) // 2, len(labels) - 1):
        labels_RC = labels[t]
        assert labels_RC.shape == shape[1:] and labels_RC.min() >= 0 and labels_RC.max() < number
    return labels


def parts(data: bytes) -> Any:
    """chunks.bin or weights.bin, as the first byte says, of a package in parts."""
    from stdo.package.parts import labels_of, networks_of

    told = manifest((CORPUS / "manifest" / "parts").read_bytes())
    if data[:1] == b"\0":
        labels = labels_of(data[1:], told)
        assert len(labels) == told.source.frames
        for t in range(len(labels)):
            assert 0 <= labels[t].min() <= labels[t].max() < len(told.network.network_of)
        return labels
    for arrived in (None, len(data) // 2):
        networks = networks_of(data[1:], told, arrived)
        assert len(networks) <= told.network.networks
        assert len(list(networks)) == len(networks)
    return networks


def graph(data: bytes) -> Any:
    """graph.onnx, before OpenVINO sees it."""
    from stdo.player.graph_check import check_graph

    return check_graph(data)


def json(data: bytes) -> Any:
    """Any JSON."""
    from stdo.core.foreign import parse_json

    parse_json(data, "x.json", constants=True)
    return parse_json(data, "x.json")


# --- run directories ---

FILES = {
    "metrics": "metrics.json", "provenance": "provenance.json", "config": "config.yaml",
    "crops": "crops/crops.json", "chunks_npz": "chunks.npz", "maps_npz": "maps.npz",
    "frames": "frames.csv", "curves": "curves.csv", "picture": "crops/0-ours.png",
    "facts": "facts.json",
}  # fmt: skip
"""Target -> the file of a run directory that it harms."""

SHORT = "patches:\n  height: 12\n  width: 16\n  halo: 0\nseed: 0\n"
"""A configuration for reports, where another file is harmed: reading a whole one takes longer than
all else."""


@cache
def sound_run() -> Path:
    """A run directory out of the first seed of each target."""
    run = folder() / "outputs" / "clip" / "run"
    for target, name in FILES.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes((CORPUS / target / "sound").read_bytes())
    (run / "config.yaml").write_text(SHORT, encoding="utf-8")
    for name in ("0-truth", "0-bicubic"):
        shutil.copyfile(run / "crops" / "0-ours.png", run / "crops" / f"{name}.png")
    return run


@contextlib.contextmanager
def harmed(name: str, data: bytes) -> Iterator[Path]:
    """The sound run directory with one file of other content."""
    path = sound_run() / name
    sound = path.read_bytes()
    path.write_bytes(data)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield sound_run()
    finally:
        path.write_bytes(sound)


def reported(where: Path) -> list[Any]:
    """What ``stdo.report`` reads and writes, but for the plot."""
    from stdo.reporting.page import write_page
    from stdo.reporting.results import write_tsv
    from stdo.reporting.runs import collect
    from stdo.reporting.table import comparison_table

    runs = collect([where])
    comparison_table(runs)
    write_tsv(folder() / "results.tsv", runs)
    write_page(folder() / "report.html", runs, "fuzz")
    return runs


def report_of(target: str) -> Target:
    """A target that reports a run directory whose file is harmed."""

    def run(data: bytes) -> Any:
        with harmed(FILES[target], data) as directory:
            return reported(directory)

    return run


def config(data: bytes) -> Any:
    """config.yaml, for a report and for the commands that build the run again."""
    from stdo.config.trust import load_config, refuse_foreign
    from stdo.core.types import UserError

    with harmed("config.yaml", data) as directory:
        with contextlib.suppress(UserError):
            reported(directory)
        refuse_foreign(directory, load_config(directory))


def metrics(data: bytes) -> Any:
    """metrics.json, for a report and for `deliver`."""
    from stdo.core.types import UserError
    from stdo.runs.directory import read_result

    with harmed("metrics.json", data) as directory:
        with contextlib.suppress(UserError):
            reported(directory)
        return read_result(directory)


def facts(data: bytes) -> Any:
    """facts.json, for `evaluate` and `deliver`."""
    from stdo.runs.files import read_facts

    with harmed("facts.json", data) as directory:
        return read_facts(directory, {})


def chunks_npz(data: bytes) -> Any:
    """chunks.npz, for `evaluate`, `deliver` and `export`."""
    from stdo.runs.directory import read_chunks

    with harmed("chunks.npz", data) as directory:
        return read_chunks(directory)


def sweep(data: bytes) -> Any:
    """A list of jobs, for a report and for the same sweep again."""
    from stdo.core.types import UserError
    from stdo.runs.sweeps import Sweep

    path = sound_run().parents[1] / "sweeps" / "fuzz" / "job-0.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with contextlib.redirect_stderr(io.StringIO()):
        with contextlib.suppress(UserError):
            reported(path.parent)
        return Sweep(path.parents[2], "fuzz").jobs()


TARGETS = {
    "manifest": Kind(manifest, "json"),
    "container": Kind(container),
    "weights": Kind(weights),
    "chunks": Kind(chunks),
    "parts": Kind(parts),
    "graph": Kind(graph),
    "json": Kind(json, "json"),
    "metrics": Kind(metrics, "json"),
    "facts": Kind(facts, "json"),
    "provenance": Kind(report_of("provenance"), "json"),
    "config": Kind(config, "yaml"),
    "crops": Kind(report_of("crops"), "json"),
    "chunks_npz": Kind(chunks_npz, "zip"),
    "maps_npz": Kind(report_of("maps_npz"), "zip"),
    "frames": Kind(report_of("frames")),
    "curves": Kind(report_of("curves")),
    "picture": Kind(report_of("picture")),
    "sweep": Kind(sweep, "json"),
}
