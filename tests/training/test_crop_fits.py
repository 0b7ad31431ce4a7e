"""Fits on random crops: pixels of the frame, the same weights wherever they resume."""

import csv
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_job import learnt

from stdo.chunks.crops import Crops
from stdo.chunks.split import by_time, whole
from stdo.models.modulated import Modulated
from stdo.models.sharing import Independent, Single
from stdo.pipeline.equal import divided
from stdo.pipeline.steps import evaluate, train
from stdo.training.data import PatchBatches, PatchData
from stdo.training.options import Options
from stdo.video.clip import Clip
from stdo.video.degrade import Degrade

WAYS = [None, *Image.Transpose]
"""The eight ways to turn a picture, by Pillow."""


def cropping(make_job, directory: str = "run", crop: int = 9, passes: float = 3.0, **changes):
    """A job that shows crops."""
    job = make_job(directory, split=by_time, **changes)
    grid = job.data.grid
    sampler = partial(Crops, batch=4, passes=passes, seed=0, grid=grid, crop=crop)
    return make_job(directory, split=by_time, **(changes | {"sampler": sampler}))


def ways(picture: np.ndarray) -> list[np.ndarray]:
    image = Image.fromarray(picture)
    return [np.asarray(image if way is None else image.transpose(way)) for way in WAYS]


@pytest.mark.parametrize("codec", [None, "x264"])
@pytest.mark.parametrize(("scale", "halo"), [(2, 0), (2, 3), (3, 2), (4, 0)])
def test_a_crop_is_that_part_of_the_frame_turned_alike_in_lr_and_hr(
    make_job, scale: int, halo: int, codec: str | None
) -> None:
    parts = make_job(scale=scale, halo=halo).data
    own = parts.clip
    degrade = Degrade(scale, codec, 30) if codec else own.degrade
    data = PatchData(Clip(own.source, degrade, own.patches, own.cache), parts._scorer, by_time, 3)
    data.prepare_data()
    data.setup()
    video, label_N = data.video, data.labels.ravel().astype(np.int64)
    sampler = Crops(label_N, label_N, batch=16, passes=30, seed=0, grid=data.grid, crop=9)
    batches, found = PatchBatches(video, data.grid, data.labels, sampler, 0, 1), set()
    for step in range(3):
        batch, cuts, patches = batches[step], sampler.cuts(step), sampler.batch(step)
        places = zip(cuts.top_B.tolist(), cuts.left_B.tolist(), strict=True)
        for n, (top, left) in enumerate(places):  # learner after learner is chunk after chunk
            t = patches[n] // data.grid.patches
            lr = np.pad(video.lr[t], ((halo, halo), (halo, halo), (0, 0)), mode="edge")
            lr = lr[top : top + 9 + 2 * halo, left : left + 9 + 2 * halo]
            side = 9 * scale
            hr = video.hr[t][top * scale :, left * scale :][:side, :side]
            same = [
                np.array_equal(batch["lr"][n], a) and np.array_equal(batch["hr"][n], b)
                for a, b in zip(ways(lr), ways(hr), strict=True)
            ]
            assert sum(same) == 1, (step, n)
            found.add(same.index(True))
            assert batch["chunk"][n] == data.labels[t, 0, 0]
    assert found == set(range(8))


def test_ranks_share_a_step_of_crops_without_overlap(make_job) -> None:
    job = cropping(make_job, sharing=Single)
    data = job.data
    data.prepare_data()
    data.setup()
    label_N = data.labels.ravel().astype(np.int64)
    sampler = job.sampler(label_N, np.zeros_like(label_N))
    both, *halves = (
        PatchBatches(data.video, data.grid, data.labels, sampler, rank, world)[0]
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )
    for key in ("lr", "hr"):
        together = np.concatenate([half[key] for half in halves])
        flat = [
            sorted(each.tobytes() for each in np.asarray(part)) for part in (both[key], together)
        ]
        assert flat[0] == flat[1]


@pytest.mark.parametrize(
    ("sharing", "equal"),
    [(Independent, "steps"), pytest.param(Modulated, "batch", marks=pytest.mark.slow)],
)
def test_a_killed_fit_goes_on_to_the_same_weights(
    make_job, monkeypatch: pytest.MonkeyPatch, sharing: type, equal: str
) -> None:
    def job(directory: str, **changes):
        made = cropping(make_job, directory, sharing=sharing, chunks=2, **changes)
        if equal == "batch":
            return made
        return make_job(
            directory, split=by_time, sharing=sharing, chunks=2,
            sampler=partial(divided, made.sampler), **changes,
        )  # fmt: skip

    straight = job("straight")
    metrics = train(straight)
    with monkeypatch.context() as patch:
        read = PatchBatches.__getitem__

        def dying(self, step):
            if step == 7:
                raise KeyError("killed")
            return read(self, step)

        patch.setattr(PatchBatches, "__getitem__", dying)
        with pytest.raises(KeyError):
            train(job("killed", checkpoint_seconds=0.0))
    killed = job("killed", checkpoint_seconds=0.0)
    assert train(killed)["psnr"] == metrics["psnr"]
    expected, got = learnt(straight), learnt(killed)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_result_tells_of_crops_and_counts_them_by_their_pixels(make_job) -> None:
    job = cropping(make_job, sharing=Single, passes=6.0)
    metrics = train(job)
    patches = metrics["patches"]
    assert metrics["crop"] == 9 and metrics["flips"] and metrics["rotations"]
    assert abs(metrics["patch_presentations"] - 6 * patches) <= 4
    assert metrics["patch_presentations"] == round(metrics["steps"] * 4 * 81 / 120)
    assert sum(metrics["chunk_presentations"]) == metrics["patch_presentations"]
    last = (job.directory / "curves.csv").read_text().splitlines()[-1]
    assert str(metrics["patch_presentations"]) in last.split(",")


@pytest.mark.parametrize("sharing", [Single, pytest.param(Independent, marks=pytest.mark.slow)])
def test_what_a_fit_validates_is_what_is_measured_of_whole_frames(make_job, sharing) -> None:
    job = cropping(
        make_job, sharing=sharing, whole=True, halo=1,
        options=Options(validate_every=1.0, validate_frames=1),
    )  # fmt: skip
    metrics = train(job)
    with (job.directory / "validation.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["psnr"]) == pytest.approx(metrics["psnr"]["frame"], abs=2e-3)
    by_patch = evaluate(job.directory, make_job(halo=1).data.clip)
    assert by_patch["psnr"]["frame"] != metrics["psnr"]["frame"]


def test_one_network_without_chunks_learns_from_crops(make_job) -> None:
    """More than bicubic, which the network begins as."""
    job = cropping(make_job, sharing=Single, passes=25.0)
    metrics = train(make_job(split=whole, sharing=Single, chunks=1, sampler=job.sampler))
    assert metrics["psnr"]["frame"] > metrics["bicubic"]["psnr"]["frame"] + 0.02
