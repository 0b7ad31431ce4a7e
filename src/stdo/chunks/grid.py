"""The patch grid: cut a frame into patches and assemble it again. Needs numpy alone, as players
do."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from stdo.core.types import I64, U8, UserError


@dataclass(frozen=True)
class PatchGrid:
    """Patches of equal size that cover every pixel of a low-resolution frame.

    Where the patch size does not divide the frame, the last row or column is shifted inwards, so
    patches overlap there; each pixel is nevertheless *owned* by exactly one patch, the first that
    reaches it.

    Patches are numbered row by row: patch ``row * cols + col``.

    Attributes:
        height: Of the LR frame, in pixels.
        width: Of the LR frame, in pixels.
        patch_h: Of a patch, in LR pixels.
        patch_w: Of a patch, in LR pixels.
        halo: LR pixels of context around a patch, repeated from the frame's edge where they fall
            outside. 0 is the paper's setting.
        scale: HR pixels per LR pixel on each side.

    Raises:
        UserError: A patch or the halo has no such size, or the frame is smaller than a patch.
    """

    height: int
    width: int
    patch_h: int
    patch_w: int
    halo: int = 0
    scale: int = 1

    def __post_init__(self) -> None:
        if self.patch_h < 1 or self.patch_w < 1:
            raise UserError(f"patch size {self.patch_w}x{self.patch_h}: must be at least 1x1")
        if self.halo < 0:
            raise UserError(f"patches.halo={self.halo}: must be 0 or more")
        if self.height < self.patch_h or self.width < self.patch_w:
            raise UserError(
                f"low-resolution frame {self.width}x{self.height} is smaller than a patch of "
                f"{self.patch_w}x{self.patch_h}; set patches.width and patches.height to at "
                "most the frame's size"
            )

    @cached_property
    def tops(self) -> I64:
        """First LR row of each patch row, (rows,)."""
        return _starts(self.height, self.patch_h)

    @cached_property
    def lefts(self) -> I64:
        """First LR column of each patch column, (cols,)."""
        return _starts(self.width, self.patch_w)

    @property
    def rows(self) -> int:
        """Number of patch rows."""
        return len(self.tops)

    @property
    def cols(self) -> int:
        """Number of patch columns."""
        return len(self.lefts)

    @property
    def patches(self) -> int:
        """Patches in one frame."""
        return self.rows * self.cols

    @cached_property
    def origins(self) -> I64:
        """Top-left LR pixel (row, column) of every patch, (patches, 2)."""
        return np.stack(np.meshgrid(self.tops, self.lefts, indexing="ij"), axis=-1).reshape(-1, 2)

    @cached_property
    def owned_rows(self) -> I64:
        """Bounds of the rows that each patch row owns, (rows, 2): first and past-the-last
        LR row."""
        return _owned(self.tops, self.patch_h)

    @cached_property
    def owned_cols(self) -> I64:
        """Bounds of the columns that each patch column owns, (cols, 2)."""
        return _owned(self.lefts, self.patch_w)

    @property
    def padded_patch(self) -> tuple[int, int]:
        """Height and width of a padded patch, a patch with its halo, in LR pixels."""
        return self.patch_h + 2 * self.halo, self.patch_w + 2 * self.halo

    @property
    def pixels(self) -> int:
        """LR pixels of all padded patches of a frame together: what networks have to compute."""
        height, width = self.padded_patch
        return self.patches * height * width

    def window_rows(self, patch: I64) -> I64:
        """LR rows of the padded patches (patch and halo) of patches numbered ``patch`` (N,): (N,
        patch_h + 2·halo)."""
        offsets = np.arange(-self.halo, self.patch_h + self.halo)
        rows: I64 = np.clip(self.origins[patch, 0, None] + offsets, 0, self.height - 1)
        return rows

    def window_cols(self, patch: I64) -> I64:
        """LR columns of the padded patches of patches numbered ``patch`` (N,): (N, patch_w +
        2·halo)."""
        offsets = np.arange(-self.halo, self.patch_w + self.halo)
        cols: I64 = np.clip(self.origins[patch, 1, None] + offsets, 0, self.width - 1)
        return cols

    def extract(self, frame_HWC: U8, patches: range | None = None) -> U8:
        """Padded patches of one LR frame (height, width, C): (N, patch_h + 2·halo, patch_w +
        2·halo, C).

        Args:
            patches: Numbers of theirs; None: all.
        """
        assert frame_HWC.shape[:2] == (self.height, self.width), frame_HWC.shape
        halo, height, width = self.halo, self.patch_h + 2 * self.halo, self.patch_w + 2 * self.halo
        padded = (
            np.pad(frame_HWC, ((halo, halo), (halo, halo), (0, 0)), mode="edge")
            if halo
            else frame_HWC
        )
        origins = self.origins if patches is None else self.origins[patches.start : patches.stop]
        return np.stack([padded[top : top + height, left : left + width] for top, left in origins])

    def coarsest(self, pixels: int) -> "PatchGrid":
        """The same frame and halo in the fewest bands of full width whose padded patches have at
        most ``pixels`` LR pixels.

        Where not even bands of one row are that small, they have one row.
        """
        rows = max(1, pixels // (self.width + 2 * self.halo) - 2 * self.halo)
        bands = -(-self.height // rows)
        return replace(self, patch_h=-(-self.height // bands), patch_w=self.width)

    def tiles(self, pixels: int) -> "PatchGrid":
        """The same frame and halo in larger patches whose padded ones have at most ``pixels`` LR
        pixels, chosen so that all of them together have the fewest; itself where there are no such.
        """
        best = self
        for cols in range(1, self.cols + 1):
            width = -(-self.width // cols)
            most = pixels // (width + 2 * self.halo) - 2 * self.halo
            if most < 1:
                continue
            rows = -(-self.height // most)
            tiles = replace(self, patch_h=-(-self.height // rows), patch_w=width)
            if tiles.pixels < best.pixels:
                best = tiles
        return best

    @cached_property
    def hr(self) -> "PatchGrid":
        """The same patches, without halo, on the HR frame."""
        s = self.scale
        return PatchGrid(self.height * s, self.width * s, self.patch_h * s, self.patch_w * s)

    def assemble(self, patches_NHWC: U8) -> U8:
        """Put HR patches (without halo) together: the inverse of `extract` of `hr`.

        Args:
            patches_NHWC: (patches, scale·patch_h, scale·patch_w, C).

        Returns:
            (scale·height, scale·width, C).
        """
        scale = self.scale
        expected = (self.patches, self.patch_h * scale, self.patch_w * scale)
        assert patches_NHWC.shape[:3] == expected, (patches_NHWC.shape, expected)
        frame = np.empty(
            (self.height * scale, self.width * scale, patches_NHWC.shape[3]), patches_NHWC.dtype
        )
        self.place(frame, patches_NHWC, range(self.patches))
        return frame

    def place(self, frame_HWC: U8, patches_NHWC: U8, patches: range) -> None:
        """Write some HR patches into an HR frame; each writes the pixels that it owns.

        Args:
            frame_HWC: ``scale`` times as large as the LR frame, or cut off at the right and at the
                bottom.
            patches_NHWC: (N, scale·patch_h, scale·patch_w, C).
            patches: Their numbers.
        """
        scale = self.scale
        for number, patch in zip(patches, patches_NHWC, strict=True):
            row, col = divmod(number, self.cols)
            (top, bottom), (left, right) = (
                self.owned_rows[row] * scale,
                self.owned_cols[col] * scale,
            )
            part = frame_HWC[top:bottom, left:right]
            dy, dx = top - self.tops[row] * scale, left - self.lefts[col] * scale
            part[...] = patch[dy : dy + part.shape[0], dx : dx + part.shape[1]]


def _starts(length: int, patch: int) -> I64:
    count = -(-length // patch)
    return np.minimum(np.arange(count, dtype=np.int64) * patch, length - patch)


def _owned(starts: I64, patch: int) -> I64:
    ends = starts + patch
    return np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
