"""Write a finished run's networks for phones: ``python -m stdo.export run=outputs/…
format=onnx|executorch|ncnn``."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from stdo.cli.app import enter
from stdo.config.settings import check
from stdo.config.trust import load_config
from stdo.core.types import UserError
from stdo.runs.directory import read_result


def task(config: DictConfig) -> Path:
    """Export, and print where and how far each network is from PyTorch. Needs no video: only the
    run directory."""
    check(config)
    directory = Path(config.run)
    run = load_config(directory)
    read_result(directory, {"scale", "height", "width"})
    check(run)
    from stdo.encoder.export import Export, export
    from stdo.video.clip import PatchSize

    patches = run.get("patches")
    if patches is None:
        raise UserError(f"run={directory}: its config.yaml names no patches")
    size = PatchSize(patches.height, patches.width, patches.halo, bool(patches.get("whole")))
    wanted = Export(str(config.format), str(config.size), Path(config.out) if config.out else None)
    folder = export(directory, size, wanted, lambda line: sys.stderr.write(f"{line}\n"))
    sys.stdout.write(f"{folder}\n")
    return directory


def main() -> None:
    """Entry point of ``stdo-export``."""
    enter(task, "export")
