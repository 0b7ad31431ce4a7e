"""The DataModule: batches hold the right pixels, patches are turned the right way."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from stdo.chunks.score import ByPsnr
from stdo.chunks.split import by_score
from stdo.core.types import UserError
from stdo.training.data import PatchBatches, PatchData
from stdo.video.clip import Clip, PatchSize
from stdo.video.degrade import Degrade


@pytest.mark.parametrize("halo", [0, 3])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_batch_holds_the_windows_and_targets_of_its_patches(
    make_job, scale: int, halo: int
) -> None:
    data = make_job(scale=scale, halo=halo).data
    data.prepare_data()
    data.setup()
    label_N = data.labels.ravel().astype(np.int64)
    sampler = make_job().sampler(label_N, label_N)
    batches = PatchBatches(data.video, data.grid, data.labels, sampler, 0, 1)
    numbers = sampler.batch(1)
    batch = batches[1]
    for n, patch in enumerate(numbers):
        t, within = divmod(patch, data.grid.patches)
        assert np.array_equal(
            batch["lr"][n], data.grid.extract(np.asarray(data.video.lr[t]))[within]
        )
        hr = data.grid.hr.extract(data.video.hr[t])[within]
        assert np.array_equal(batch["hr"][n], hr)
        assert batch["chunk"][n] == data.labels.ravel()[patch]


def test_ranks_share_a_batch_without_overlap(make_job) -> None:
    data = make_job().data
    data.prepare_data()
    data.setup()
    label_N = data.labels.ravel().astype(np.int64)
    sampler = make_job().sampler(label_N, label_N)
    whole = PatchBatches(data.video, data.grid, data.labels, sampler, 0, 1)[0]
    halves = [
        PatchBatches(data.video, data.grid, data.labels, sampler, rank, 2)[0] for rank in (0, 1)
    ]
    for key, both in whole.items():
        assert torch.equal(both[0::2], halves[0][key])
        assert torch.equal(both[1::2], halves[1][key])


@pytest.mark.parametrize(
    ("height", "width", "scale", "patch"),
    [
        (270, 480, 4, (54, 48)),  # the paper's tiling of 1080p: 5 x 10
        (540, 960, 2, (54, 48)),
        (360, 640, 3, (60, 64)),
        (480, 270, 4, (48, 54)),  # a portrait video turns the patch
        (640, 360, 3, (64, 60)),
    ],
)
def test_the_papers_patches_tile_1080p_both_ways_up(
    height: int, width: int, scale: int, patch: tuple
) -> None:
    grid = PatchSize().grid(height, width, scale)
    assert (grid.patch_h, grid.patch_w) == patch
    assert grid.patches * patch[0] * patch[1] == height * width


def test_a_frame_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(UserError, match="patches.width and patches.height"):
        PatchSize().grid(40, 400, 4)
    assert PatchSize(height=40).grid(40, 400, 4).rows == 1


def test_more_chunks_than_patches_are_refused_before_decoding(make_job) -> None:
    with pytest.raises(UserError, match="chunks=1000: the video has only"):
        make_job(chunks=1000)


def test_scores_are_kept_and_taken_up_again(make_job, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_job().data
    first.prepare_data()
    assert first.score_seconds is not None
    monkeypatch.setattr(ByPsnr, "scores", lambda *_: pytest.fail("scored twice"))
    again = make_job().data
    again.prepare_data()
    assert np.array_equal(first.scores, again.scores)
    assert again.score_seconds == first.score_seconds, "what scoring took, not what reading took"
    for kept in again.video.folder.glob("score-seconds-*"):
        kept.unlink()
    older = make_job().data
    older.prepare_data()
    assert older.score_seconds is None, "scores from a cache that kept no seconds"


@pytest.mark.parametrize("codec", [None, "lossless"])
def test_scores_made_while_preparing_are_those_of_the_prepared_video(
    make_job, codec: str | None
) -> None:
    """The fast path, in the pass that decodes, and the plain one, from the frames on disk."""
    parts = make_job().data
    own = parts.clip

    def again() -> PatchData:
        return PatchData(
            Clip(own.source, Degrade(2, codec), own.patches, own.cache), parts._scorer, by_score, 3
        )

    data = [again()]
    data[0].prepare_data()
    for kept in data[0].video.folder.glob("scores-*"):
        kept.unlink()
    data.append(again())
    data[1].prepare_data()
    assert np.array_equal(data[0].scores, data[1].scores)


def test_waiting_for_frames_is_not_scoring(make_job) -> None:
    parts = make_job().data

    def slow() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(3):
            time.sleep(0.05)
            yield np.zeros((25, 35, 3), np.uint8), np.zeros((50, 70, 3), np.uint8)

    parts._score(slow())
    assert parts.score_seconds is not None
    assert parts.score_seconds < 0.1


def test_a_scorer_without_a_key_is_asked_once_and_not_remembered(make_job) -> None:
    asked = []

    def upscale(lr_HWC: np.ndarray) -> np.ndarray:
        asked.append(1)
        return lr_HWC.repeat(2, 0).repeat(2, 1)

    data = PatchData(make_job().data.clip, ByPsnr(upscale), by_score, 3)
    data.prepare_data()
    data.setup()
    data.setup("fit")
    assert len(asked) == 6, "once per frame"
    assert not list(data.video.folder.glob("score*"))
    assert data.score_seconds is not None
