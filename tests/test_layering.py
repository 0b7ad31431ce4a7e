"""The architecture is a test: imports go downwards only, and what a player needs imports without
the lab."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "stdo"

MAY_IMPORT = {
    "core": set[str](),
    "chunks": {"core"},
    "models": {"core"},
    "metrics": {"core", "chunks"},
    "runs": {"core", "metrics"},
    "video": {"core", "chunks"},
    "training": {"core", "chunks", "models", "video"},
    "evaluation": {"core", "chunks", "metrics", "models", "video", "runs"},
    "package": {"core", "chunks", "video"},
    "player": {"core", "chunks", "video", "package"},
    "encoder": {
        "core",
        "chunks",
        "metrics",
        "models",
        "video",
        "runs",
        "evaluation",
        "package",
        "player",
    },
    "reporting": {"core", "chunks", "metrics", "video", "runs", "evaluation"},
    "pipeline": {
        "core",
        "chunks",
        "metrics",
        "models",
        "video",
        "runs",
        "training",
        "evaluation",
        "reporting",
    },
    "config": {"core", "models", "video", "runs", "training", "evaluation", "pipeline"},
    "cli": {
        "core",
        "video",
        "runs",
        "evaluation",
        "package",
        "player",
        "encoder",
        "reporting",
        "pipeline",
        "config",
    },
    "api": {"core", "models", "video", "runs", "encoder", "reporting", "pipeline", "config", "cli"},
}
"""The packages of stdo, lowest first, and what each may import of the others."""
COMMANDS = (
    "__main__",
    "train",
    "evaluate",
    "deliver",
    "export",
    "play",
    "catalogue",
    "report",
    "dashboard",
)
"""Modules that hold one call of `stdo.cli`, so that ``python -m stdo.train`` works."""
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
    *(
        f"stdo.{path.parent.name}.{path.stem}"
        for package in ("package", "player")
        for path in SOURCE.glob(f"{package}/*.py")
    ),
    "stdo.core.types",
    "stdo.core.console",
    "stdo.core.cores",
    "stdo.core.files",
    "stdo.core.foreign",
    "stdo.core.signals",
    "stdo.chunks.grid",
    "stdo.chunks.score",
    "stdo.video.reader",
    "stdo.video.images",
    "stdo.video.writer",
    "stdo.video.degrade",
    "stdo.video.sample",
    "stdo.play",
]


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


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_downwards(path: Path) -> None:
    here = package_of(path)
    if here == "__init__":
        return
    allowed = {"cli", "core"} if here in COMMANDS else MAY_IMPORT[here]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "stdo" and len(parts) > 1 and parts[1] not in ("__version__", here):
            assert parts[1] in allowed, f"{path.name} imports {name}"


def test_the_packages_are_listed_lowest_first() -> None:
    below = set()
    for package, allowed in MAY_IMPORT.items():
        assert allowed <= below, package
        below.add(package)
    found = {package_of(path) for path in MODULES} - {"__init__", *COMMANDS}
    assert found == below


def test_no_module_imports_itself_through_others() -> None:
    modules = {
        ".".join(("stdo", *path.relative_to(SOURCE).with_suffix("").parts)): path
        for path in MODULES
    }
    below = {
        name: {each for each in imports(path) if each in modules} for name, path in modules.items()
    }
    del below["stdo.__init__"]
    order = TopologicalSorter(below)
    order.prepare()  # raises CycleError


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_hydra_and_lightning_stay_where_they_belong(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    here = path.relative_to(SOURCE).as_posix()
    if not here.startswith(("config/", "cli/", "api.py")):
        assert not roots & {"hydra", "omegaconf"}
    if not here.startswith(
        ("training/", "runs/tracking/", "pipeline/", "config/jobs.py", "config/callbacks.py")
    ):
        assert "pytorch_lightning" not in roots


def test_chunks_know_no_network() -> None:
    for path in (SOURCE / "chunks").glob("*.py"):
        assert not any(name.startswith(("torch", "stdo.models")) for name in imports(path)), path


@pytest.mark.parametrize("module", WITHOUT_LAB)
def test_the_base_install_is_enough_for(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {LAB} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize(
    "imports",
    [
        "stdo.player.runtime, openvino",
        "stdo.encoder.formats, onnxruntime",
        "stdo.encoder.measuring, openvino",
    ],
)
def test_what_is_imported_reports_nobody(imports: str, tmp_path: Path) -> None:
    """OpenVINO and ONNX Runtime leave an identifier in the home folder, and tell their makers,
    unless that is off."""
    environment = {
        name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"
    }
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache")}
    code = f"import {imports}, time; time.sleep(0.5)"
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)
    left = [path.name for path in tmp_path.rglob("*")]
    assert not [
        name for name in left if "openvino" in name or "intel" in name or "onnx" in name.lower()
    ], left
