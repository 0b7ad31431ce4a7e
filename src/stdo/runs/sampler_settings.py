"""Schema of the settings of samplers."""

from stdo.runs.chain_settings import CHAIN_SAMPLER
from stdo.runs.setting import Count, Numbers, Setting, Share, Shares, Size

SAMPLER = {
    "ratios": Setting(
        Shares | None, "share of each chunk's patches that is trained on", numbers=True
    ),
    "factor": Setting(Share, "ratios left null are 1, factor, factor², ..., 0"),
    "size": Setting(
        Size | None,
        "patches to train on, as a number or a share of the video; scales the middle ratios",
    ),
    "resample": Setting(bool, "draw a new random subset for each pass over it"),
    "weights": Setting(
        Numbers | None,
        "how often a patch of each chunk is drawn; null: falling evenly",
        numbers=True,
    ),
    "step_shares": Setting(
        Numbers | None,
        "how steps are divided among networks; null: 1, 1/2, 1/3 and so on; inorder: by patches",
        numbers=True,
        former="work",
    ),
    "crop": Setting(Count, "side of a random crop in LR pixels"),
    "flips": Setting(bool, "mirror half of the crops left to right, and half top to bottom"),
    "rotations": Setting(bool, "turn crops by any number of quarters"),
    **CHAIN_SAMPLER,
    "share": Setting(Share, "patches of the passes over hard patches alone, as a share of all"),
    "every": Setting(Count, "each so many-th pass is one over all patches"),
}
