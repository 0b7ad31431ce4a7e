"""Settings of what networks share, and of those trained chunk after chunk."""

from typing import Annotated, Literal

from msgspec import Meta

from stdo.runs.setting import BelowOne, Count, Setting, Share

CHAIN_SAMPLER = {
    "trial": Setting(
        BelowOne, "share of a chunk's steps that choose the weights that it changes; 0: none"
    ),
    "behind": Setting(
        Literal[0, 1], "1: learn from the chunks before alone, as a live stream must"
    ),
    "recent": Setting(
        Share, "with behind=1, share of the patches shown that are of the last chunk known"
    ),
    "hardest": Setting(Share, "share of the patches of a frame that are shown, of the lowest PSNR"),
    "inner": Setting(Count, "steps on one chunk before another one, in meta-learning"),
    "look_every": Setting(Count, "each n-th frame says which patches are the hardest"),
}
SHARING = {
    "optim.outer": Setting(Share, "share of the way of a task that meta-learning goes"),
    "sharing.rank": Setting(
        Annotated[int, Meta(ge=1, le=255)], "rank of the differences between networks"
    ),
    "sharing.fraction": Setting(
        Share, "share of the weights that a chunk of sharing=chain changes"
    ),
    "sharing.choose": Setting(
        Literal["change", "gradient"],
        "weights that a chunk changes: those that move farthest, or of the largest gradients",
    ),
}
