"""The LightningDataModule: prepare, score, chunk, sample, and batches in one indexed read."""

import time
from collections.abc import Iterator
from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from stdo.chunks.grid import PatchGrid
from stdo.chunks.sample import Sampler as PatchSampler
from stdo.chunks.score import Scorer
from stdo.chunks.split import Split
from stdo.core.files import atomic
from stdo.core.types import F32, I16, I64, U8, Pairs, UserError
from stdo.training.blocks import Blocks
from stdo.video.clip import Clip
from stdo.video.store import Prepared, cached_array

Batch = dict[str, torch.Tensor]
"""lr: uint8 (B, h, w, 3) padded patches; hr: uint8 (B, s·h, s·w, 3) patches without halo; chunk,
patch: int64 (B,), the chunk and the number over the whole video."""


class PatchBatches(Dataset[Batch]):
    """Item ``step`` is the whole batch of that step."""

    def __init__(
        self,
        video: Prepared,
        grid: PatchGrid,
        labels: I16,
        sampler: PatchSampler,
        rank: int,
        world: int,
    ) -> None:
        self._video, self._grid, self._labels = video, grid, labels.reshape(-1)
        self._sampler, self._rank, self._world = sampler, rank, world

    def __len__(self) -> int:
        return self._sampler.steps

    def __getitem__(self, step: int) -> Batch:
        patch_B = self._sampler.batch(step)[self._rank :: self._world]
        # Chunk by chunk, as `Sharing.forward` likes it: the loss does not care for the order.
        return self.gather(patch_B[np.argsort(self._labels[patch_B], kind="stable")])

    def gather(self, patch_B: I64) -> Batch:
        """The padded patches, targets and chunks of the patches numbered ``patch_B`` over the
        whole video."""
        grid, scale = self._grid, self._grid.scale
        frame_B, within_B = np.divmod(patch_B, grid.patches)
        if grid.halo:
            rows, cols = grid.window_rows(within_B), grid.window_cols(within_B)
            lr_BHWC = self._video.lr.gather_pixels(frame_B, rows, cols)
        else:
            top, left = grid.origins[within_B].T
            lr_BHWC = self._video.lr.gather(frame_B, top, left, grid.patch_h, grid.patch_w)
        top, left = grid.origins[within_B].T * scale
        hr_BHWC = self._video.hr.gather(
            frame_B, top, left, grid.patch_h * scale, grid.patch_w * scale
        )
        chunk_B = self._labels[patch_B].astype(np.int64)
        batch = {"lr": lr_BHWC, "hr": hr_BHWC, "chunk": chunk_B, "patch": patch_B}
        return {key: torch.from_numpy(values) for key, values in batch.items()}


class PatchData(pl.LightningDataModule):
    """A clip, scored, chunked and sampled.

    `prepare_data` decodes, degrades and scores into the cache (once per machine); `setup` opens the
    result and makes `scores` and `labels`, both (T, rows, cols); `show` then says which patches the
    fit shows. `rescore` makes chunks anew, between two phases of a fit.
    `score_seconds`: what scoring took, also when the cache had the scores; None when that is
        unknown.
    """

    def __init__(self, clip: Clip, scorer: Scorer, split: Split, chunks: int) -> None:
        super().__init__()
        self.clip, self.grid, self._scorer, self._split, self._chunks = (
            clip,
            clip.grid,
            scorer,
            split,
            chunks,
        )
        self.scores: F32
        self.score_seconds: float | None = None
        self.labels: I16
        self._sampler: PatchSampler | None = None
        frames = clip.info.frames
        if frames and chunks > frames * self.grid.patches:
            raise UserError(
                f"chunks={chunks}: the video has only {frames * self.grid.patches} patches"
            )

    @property
    def video(self) -> Prepared:
        """The clip's frames."""
        return self.clip.video

    def prepare_data(self) -> None:
        """Decode, degrade and score, unless the cache has it all."""
        self._open()

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002
        """Open the prepared video and split its patches into chunks."""
        self._open()
        self.labels = self._split(self.scores, self._chunks)

    def _open(self) -> None:
        if hasattr(self, "scores"):
            return
        scored: list[F32] = []
        video = self.clip.prepare(lambda pairs: scored.append(self._score(pairs)))

        def compute() -> F32:
            lr, hr = video.lr, video.hr
            pairs = ((lr[t], hr[t]) for t in self.clip.progress(range(len(lr)), len(lr), "score"))
            return scored[0] if scored else self._score(pairs)

        key = self._scorer.key()
        if key is None:
            self.scores = compute()
            return
        name = f"{key}-{video.degrade_key}-{self.grid.patch_w}x{self.grid.patch_h}"
        seconds = video.folder / f"score-seconds-{name}.txt"

        def compute_and_keep() -> F32:
            scores = compute()
            with atomic(
                seconds
            ) as partial:  # before the scores: whoever finds them finds this as well
                partial.write_text(f"{self.score_seconds}\n", encoding="utf-8")
            return scores

        self.scores = cached_array(video.folder / f"scores-{name}.npy", compute_and_keep)
        self.score_seconds = (
            float(seconds.read_text(encoding="utf-8")) if seconds.exists() else None
        )

    def _score(self, pairs: Pairs) -> F32:
        """Score the frames; the time that they have to be waited for does not count as scoring."""
        waited = 0.0

        def timed() -> Iterator[tuple[U8, U8]]:
            nonlocal waited
            asked = time.perf_counter()
            for pair in pairs:
                waited += time.perf_counter() - asked
                yield pair
                asked = time.perf_counter()
            waited += time.perf_counter() - asked

        began = time.perf_counter()
        scores = self._scorer.scores(timed(), self.grid)
        self.score_seconds = time.perf_counter() - began - waited
        return scores

    def split_as(self, scores_TRC: F32) -> I16:
        """The labels that scores would give, (T, rows, cols); nothing is kept."""
        return self._split(scores_TRC, self._chunks)

    def rescore(self, scores_TRC: F32) -> None:
        """Split the patches by these scores from now on, (T, rows, cols) in dB."""
        self.scores, self.labels = scores_TRC, self.split_as(scores_TRC)

    def show(self, sampler: PatchSampler) -> None:
        """Say which patches the next fit shows."""
        self._sampler = sampler

    def train_dataloader(self) -> DataLoader[list[Batch]]:
        """Blocks of batches, of every step that is left."""
        sampler, trainer = self._sampler, self.trainer
        assert sampler is not None, "call show() first"
        rank, world, first = (
            (trainer.global_rank, trainer.world_size, trainer.global_step) if trainer else (0, 1, 0)
        )
        batches = PatchBatches(self.video, self.grid, self.labels, sampler, rank, world)
        blocks = Blocks(sampler, first)
        return DataLoader(
            cast(Dataset[list[Batch]], batches), batch_sampler=blocks, collate_fn=list
        )
