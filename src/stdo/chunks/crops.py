"""The sampler that shows random crops of whole frames, off the patch grid."""

from fractions import Fraction
from itertools import product

import numpy as np

from stdo.chunks.cuts import Cuts
from stdo.chunks.grid import PatchGrid
from stdo.chunks.sample import Decks
from stdo.core.types import I64, U8, Json, UserError

LEFT_RIGHT, TOP_BOTTOM, TRANSPOSED = 1, 2, 4
"""How a crop is turned: a sum of these, 0 to 7; transposed first, then mirrored."""

HALF_TURN, QUARTER_TURN = LEFT_RIGHT + TOP_BOTTOM, LEFT_RIGHT + TRANSPOSED


class Crops(Decks):
    """Square crops at random places of a chunk's frames, mirrored and turned at random, as awDNN,
    NAS and CaFM were published (https://arxiv.org/abs/2108.08202, its code).

    Every frame of a learner is shown equally often, in a new random order each time, and any place
    where a crop fits into the frame is as likely as any other. So pixels near the frame's border
    are seen less often than others, none never.

    A crop counts as its LR pixels over a patch's, so that at equal presentations equally many
    pixels have been seen: 48x48 is 8/9 of a patch of 54x48. Halos count for neither.

    Args:
        label_N: The chunk of each patch, int64 (N,), frame after frame.
        learner_N: The learner that learns from each patch, int64 (N,).
        batch: Crops per learner and step.
        passes: Presentations as a multiple of N.
        seed: Of the order of frames, and of places and turns.
        grid: Of the patches.
        crop: Side of a crop in LR pixels.
        flips: Whether half of the crops are mirrored left to right, and half top to bottom.
        rotations: Whether crops are turned by any number of quarters.

    Raises:
        UserError: A crop is larger than a frame, or chunks are not made of whole frames.
    """

    OFF_GRID = True

    def __init__(
        self,
        label_N: I64,
        learner_N: I64,
        *,
        batch: int,
        passes: float,
        seed: int,
        grid: PatchGrid,
        crop: int = 48,
        flips: bool = True,
        rotations: bool = True,
    ) -> None:
        check_crop(crop, grid)
        label_TP, learner_TP = (each.reshape(-1, grid.patches) for each in (label_N, learner_N))
        if (label_TP != label_TP[:, :1]).any():
            raise UserError(
                f"sampler.crop={crop}: crops lie anywhere in a frame, so chunks must be made of "
                "whole frames, as with chunking=time or chunking=whole"
            )
        self.worth = Fraction(crop**2, grid.patch_h * grid.patch_w)
        super().__init__(label_N, learner_N, batch=batch, passes=passes, seed=seed)
        self._grid, self._crop, self._flips, self._rotations = grid, crop, flips, rotations
        self._turns = np.array(turns(flips, rotations))
        # A frame stands for itself by its first patch
        first_T = np.arange(len(label_TP)) * grid.patches
        self._frames: list[I64] = [
            first_T[learner_TP[:, 0] == each] for each in range(self.learners)
        ]

    @property
    def facts(self) -> Json:
        """How crops are made."""
        return {"crop": self._crop, "flips": self._flips, "rotations": self._rotations}

    def cuts(self, step: int) -> Cuts:
        """See `Sampler.cuts`."""
        assert 0 <= step < self.steps, step
        parts = [self._drawn(learner, step) for learner in range(self.learners)]
        return Cuts(self._crop, *np.concatenate(parts, axis=1))

    def _deck(self, learner: int, turn: int) -> I64:  # noqa: ARG002
        return self._frames[learner]

    def _drawn(self, learner: int, step: int) -> I64:
        """Top, left and turn of one learner's crops, (3, batch)."""
        rng = np.random.default_rng((self.seed, learner, step, 1))  # decks have no fourth number
        places = (self._grid.height - self._crop + 1, self._grid.width - self._crop + 1)
        top_B, left_B = (rng.integers(count, size=self.batch_size) for count in places)
        drawn: I64 = np.stack([top_B, left_B, rng.choice(self._turns, self.batch_size)])
        return drawn


def check_crop(crop: int, grid: PatchGrid) -> None:
    """Raise UserError for crops that do not fit LR frames."""
    most = min(grid.height, grid.width)
    if not 1 <= crop <= most:
        raise UserError(
            f"sampler.crop={crop}: must be from 1 to {most}: LR frames have "
            f"{grid.width}x{grid.height} pixels"
        )


def turns(flips: bool, rotations: bool) -> list[int]:
    """The ways that crops are turned, each equally often.

    >>> turns(False, False), turns(True, False), turns(False, True)
    ([0], [0, 1, 2, 3], [0, 3, 5, 6])
    """
    mirrored = (0, LEFT_RIGHT, TOP_BOTTOM, HALF_TURN) if flips else (0,)
    quarters = (0, QUARTER_TURN, HALF_TURN, TOP_BOTTOM + TRANSPOSED) if rotations else (0,)
    # Transposing swaps the other two, which leaves the set as it is
    return sorted({one ^ other for one, other in product(mirrored, quarters)})


def turned(picture_BHWC: U8, turn_B: I64) -> U8:
    """Square pictures, each turned in its own way: transposed first, then mirrored.

    Args:
        picture_BHWC: uint8 (B, side, side, 3).
        turn_B: Sums of `LEFT_RIGHT`, `TOP_BOTTOM` and `TRANSPOSED`, (B,).
    """
    made = np.empty_like(picture_BHWC)
    for turn in np.unique(turn_B):
        chosen = turn_B == turn
        picture = picture_BHWC[chosen]
        if turn & TRANSPOSED:
            picture = picture.swapaxes(1, 2)
        if turn & LEFT_RIGHT:
            picture = picture[:, :, ::-1]
        if turn & TOP_BOTTOM:
            picture = picture[:, ::-1]
        made[chosen] = picture
    return made
