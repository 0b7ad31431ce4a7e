"""Where pictures are cut out of frames."""

from dataclasses import dataclass

from stdo.core.types import I64


@dataclass(frozen=True)
class Cuts:
    """Where the pictures of a step are cut out of their frames, and how they are turned.

    Attributes:
        size: Of a side, in LR pixels.
        top_B: First LR row of each, int64 (B,).
        left_B: First LR column of each, int64 (B,).
        turn_B: How each is turned, see `stdo.chunks.crops.turned`; int64 (B,).
    """

    size: int
    top_B: I64
    left_B: I64
    turn_B: I64

    def __getitem__(self, chosen: I64 | slice) -> "Cuts":
        """Some of them."""
        return Cuts(self.size, self.top_B[chosen], self.left_B[chosen], self.turn_B[chosen])
