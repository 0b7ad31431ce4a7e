"""The architecture is a test: imports go downwards only, and what a player needs imports without the lab."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "stdo"

LAYERS = {
    "types": 0,
    "console": 1,
    "files": 1,
    "cores": 1,
    "safe_path": 1,
    "foreign": 1,
    "imports": 1,
    "kernels": 1,
    "provenance": 1,
    "signals": 1,
    "locks": 2,
    "schema": 2,
    "places": 1,
    "settings": 1,
    "runschema": 3,
    "runfiles": 4,
    "rundir": 5,
    "sweeps": 5,
    "video": 3,
    "models": 3,
    "chunks": 4,
    "clip": 5,
    "training": 6,
    "evaluation": 6,
    "delivery": 7,
    "tracking": 7,
    "reporting": 7,
    "fitting": 8,
    "pipeline": 9,
    "rehearsal": 9,
    "trust": 10,
    "words": 10,
    "progress": 3,
    "result": 1,
    "opened": 12,
    "composed": 13,
    "api": 16,
    "studies": 11,
    "doors": 12,
    "jobs": 13,
    "deliver": 14,
    "play": 14,
    "train": 15,  # may end in a package
    "evaluate": 14,
    "export": 14,
    "report": 14,
}
MODULES = sorted(SOURCE.rglob("*.py"))
LAB = [
    "torch",
    "pytorch_lightning",
    "hydra",
    "omegaconf",
    "matplotlib",
    "PIL",
    "torchmetrics",
    "tqdm",
    "filelock",
    "numba",
]
WITHOUT_LAB = [
    "stdo.types",
    "stdo.console",
    "stdo.cores",
    "stdo.files",
    "stdo.foreign",
    "stdo.signals",
    "stdo.chunks.grid",
    "stdo.chunks.score",
    "stdo.video.reader",
    "stdo.video.images",
    "stdo.video.writer",
    "stdo.video.degrade",
    "stdo.video.sample",
    "stdo.delivery.fields",
    "stdo.delivery.manifest_json",
    "stdo.delivery.package",
    "stdo.delivery.coding",
    "stdo.delivery.delta",
    "stdo.delivery.weights",
    "stdo.delivery.labels",
    "stdo.delivery.client",
    "stdo.delivery.output",
    "stdo.delivery.target",
    "stdo.delivery.inside",
    "stdo.delivery.isolated",
    "stdo.delivery.confine",
    "stdo.delivery.speed",
    "stdo.play",
]


def room(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_downwards(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    assert here in LAYERS, f"{here} has no layer yet"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "stdo" or len(parts) < 2 or parts[1] not in LAYERS or parts[1] == here:
            continue
        assert LAYERS[parts[1]] < LAYERS[here], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_hydra_stays_in_the_doors(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    if LAYERS.get(room(path), 0) < LAYERS["trust"]:
        assert not roots & {"hydra", "omegaconf"}
    if room(path) not in ("training", "tracking", "fitting", "rehearsal", "jobs"):
        assert "pytorch_lightning" not in roots


def test_chunks_know_no_network() -> None:
    for path in (SOURCE / "chunks").glob("*.py"):
        assert not any(name.startswith(("torch", "stdo.models")) for name in imports(path)), path


@pytest.mark.parametrize("module", WITHOUT_LAB)
def test_the_base_install_is_enough_for(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {LAB} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
