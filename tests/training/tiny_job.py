"""The smallest run that is a run: its settings, its video, and what it has learnt."""

from pathlib import Path

import torch

from stdo.models.weights import load_networks
from stdo.runs.directory import WEIGHTS
from stdo.video.sample import GeneratedClip
from stdo.video.writer import VideoWriter

JOB = [
    "backbone=espcn",
    "scale=2",
    "chunks=2",
    "patches.height=12",
    "patches.width=16",
    "budget.passes=1",
]
"""Two chunks of tiny patches, one pass."""


def tiny_clip(path: Path, seed: int = 0, frames: int = 4) -> Path:
    """Write a generated video of 64x48 pixels, without loss."""
    source = GeneratedClip(width=64, height=48, frames=frames, rate=25, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 64, 48, source.info.rate, "ffv1") as writer:
        for frame in source:
            writer.write(frame)
    return path


def learnt(job) -> dict[str, torch.Tensor]:
    """The weights of all networks of a finished run."""
    networks, _ = load_networks(job.directory / WEIGHTS)
    return {
        f"{i}.{name}": value
        for i, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }
