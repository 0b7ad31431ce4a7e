"""The LightningDataModule: prepare, score, chunk, sample, and batches in one indexed read."""

import time
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from stdo.chunks.crops import turned
from stdo.chunks.cuts import Cuts
from stdo.chunks.grid import PatchGrid
from stdo.chunks.sample import Sampler as PatchSampler
from stdo.chunks.score import Scorer
from stdo.chunks.split import EmptyChunkError, Scores, Split, by_sizes, even_scores
from stdo.core.files import atomic
from stdo.core.types import F32, I16, I64, U8, Pairs, UserError
from stdo.training.blocks import Blocks
from stdo.training.validation import ValidationFrames, is_due
from stdo.video.clip import Clip
from stdo.video.store import Prepared, cached_array

Batch = dict[str, torch.Tensor]
"""lr: uint8 (B, h, w, 3) padded patches; hr: uint8 (B, s·h, s·w, 3) patches without halo; chunk,
patch: int64 (B,), the chunk and the number over the whole video; of a crop off the grid (see
`stdo.chunks.crops`), that of its frame's first patch."""

PLAIN_BATCH = 16
"""Patches of a batch where no sampler says."""


class AnyPatches(Dataset[Batch]):
    """Item: the batch of any patches, by their numbers over the whole video."""

    def __init__(self, video: Prepared, grid: PatchGrid, labels: I16) -> None:
        self._video, self._grid, self._labels = video, grid, labels.reshape(-1)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, patches: list[int]) -> Batch:
        return self.gather(np.asarray(patches, np.int64))

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
        return self._batch(lr_BHWC, hr_BHWC, patch_B)

    def cut(self, patch_B: I64, cuts: Cuts) -> Batch:
        """Crops of the frames of some patches, padded and turned, with targets and chunks.

        Args:
            patch_B: Numbers of patches over the whole video: any of each crop's frame.
            cuts: Where the crops lie, and how they are turned.
        """
        grid, scale, size = self._grid, self._grid.scale, cuts.size
        frame_B = patch_B // grid.patches
        offsets = np.arange(-grid.halo, size + grid.halo)
        rows = np.clip(cuts.top_B[:, None] + offsets, 0, grid.height - 1)
        cols = np.clip(cuts.left_B[:, None] + offsets, 0, grid.width - 1)
        lr_BHWC = self._video.lr.gather_pixels(frame_B, rows, cols)
        hr_BHWC = self._video.hr.gather(
            frame_B, cuts.top_B * scale, cuts.left_B * scale, size * scale, size * scale
        )
        return self._batch(turned(lr_BHWC, cuts.turn_B), turned(hr_BHWC, cuts.turn_B), patch_B)

    def _batch(self, lr_BHWC: U8, hr_BHWC: U8, patch_B: I64) -> Batch:
        chunk_B = self._labels[patch_B].astype(np.int64)
        batch = {"lr": lr_BHWC, "hr": hr_BHWC, "chunk": chunk_B, "patch": patch_B}
        return {key: torch.from_numpy(values) for key, values in batch.items()}


class PatchBatches(AnyPatches):
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
        super().__init__(video, grid, labels)
        self._sampler, self._rank, self._world = sampler, rank, world

    def __len__(self) -> int:
        return self._sampler.steps

    def __getitem__(self, step: int) -> Batch:  # type: ignore[override]
        own = slice(self._rank, None, self._world)
        patch_B, cuts = self._sampler.batch(step)[own], self._sampler.cuts(step)
        # Chunk by chunk, as `Sharing.forward` likes it: the loss does not care for the order.
        order_B = np.argsort(self._labels[patch_B], kind="stable")
        if cuts is None:
            return self.gather(patch_B[order_B])
        return self.cut(patch_B[order_B], cuts[own][order_B])


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
        self._rescored = False
        self._sampler: PatchSampler | None = None
        self._single = False
        self._frames: list[int] | None = None
        self._every: int | None = None
        self._served: int | None = None
        self._seen = clip.grid
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
        if not self._rescored:  # `rescore` has split them, and Lightning calls this for each fit
            self.labels = self.split_as(self.scores)

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

    def split_evenly(self, shape: tuple[int, ...]) -> I16:
        """Labels of a video of this shape, (T, rows, cols), with made-up scores that put patches
        into every chunk."""
        thresholds = getattr(self._split, "keywords", {}).get("thresholds")
        return self.split_as(even_scores(int(np.prod(shape)), thresholds).reshape(shape))

    def split_as(self, scores_TRC: Scores) -> I16:
        """The labels that scores would give, (T, rows, cols); nothing is kept."""
        return self._split(scores_TRC, self._chunks)

    def rescore(self, scores_TRC: F32) -> str | None:
        """Split the patches by these scores from now on, (T, rows, cols) in dB.

        Returns:
            What was wrong with thresholds that would leave a chunk without patches: each chunk then
            has as many as before. Else None.
        """
        wrong = None
        try:
            labels = self.split_as(scores_TRC)
        except EmptyChunkError as error:
            wrong = str(error)
            labels = by_sizes(scores_TRC, np.bincount(self.labels.ravel()).tolist())
        self.scores, self.labels, self._rescored = scores_TRC, labels, True
        return wrong

    def show(self, sampler: PatchSampler, single: bool = False) -> None:
        """Say which patches the next fit shows.

        Args:
            sampler: Picks the patches of each step.
            single: Hand on one step at a time, in place of blocks.
        """
        self._sampler, self._single = sampler, single

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Into the checkpoint: the state of an online sampler, which others do not have."""
        online = self._sampler.online if self._sampler else None
        state = online.state() if online else {}
        return {name: torch.from_numpy(values) for name, values in state.items()}

    def load_state_dict(self, state_dict: dict[str, torch.Tensor]) -> None:
        """From the checkpoint."""
        online = self._sampler.online if self._sampler else None
        if online:
            online.restore({name: values.numpy() for name, values in state_dict.items()})

    def measure(
        self,
        frames: list[int] | None,
        every: int | None,
        served: int,
        grid: PatchGrid | None = None,
    ) -> None:
        """Say what the next fit validates.

        Args:
            frames: Numbers of the frames; None: each one.
            every: Steps between two validations; None: as the Trainer says.
            served: Chunks from this one on have no network.
            grid: The patches as finished networks will see them; None: as those of the fit do.
        """
        self._seen = grid or self.grid
        self._frames, self._every, self._served = frames, every, served

    def train_dataloader(self) -> DataLoader[Any]:
        """Blocks of batches, of every step that is left, see `show`; without it, batches of 16
        patches of the whole video in random order."""
        sampler, trainer = self._sampler, self.trainer
        if sampler is None:
            return self._plain_dataloader()
        rank, world, first, done = 0, 1, 0, 0
        if trainer:
            rank, world, first = trainer.global_rank, trainer.world_size, trainer.global_step
            done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        batches = PatchBatches(self.video, self.grid, self.labels, sampler, rank, world)
        every, steps = self._every, sampler.steps
        blocks = Blocks(sampler, first, self._single, lambda step: is_due(step, every, steps), done)
        return DataLoader(
            cast(Dataset[Any], batches),
            batch_sampler=blocks,
            collate_fn=_only if self._single else list,
        )

    def _plain_dataloader(self) -> DataLoader[Any]:
        patches = AnyPatches(self.video, self.grid, self.labels)
        order = BatchSampler(RandomSampler(patches), PLAIN_BATCH, drop_last=False)
        return DataLoader(cast(Dataset[Any], patches), sampler=order, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """Whole frames, see `measure`."""
        frames = list(range(len(self.video.lr))) if self._frames is None else self._frames
        trainer = self.trainer
        if trainer is not None and 1 < trainer.world_size <= len(frames):
            frames = frames[trainer.global_rank :: trainer.world_size]
        served = int(self.labels.max()) + 1 if self._served is None else self._served
        shown = ValidationFrames(self.video, self._seen, self.labels, frames, served)
        # Its own generator: a loader without one draws from torch's global one
        return DataLoader(
            cast(Dataset[Any], shown), batch_size=None, generator=torch.Generator().manual_seed(0)
        )


def _only(batches: list[Batch]) -> Batch:
    """The one batch of a block of one step."""
    (batch,) = batches
    return batch
