"""EPS: clusters against numpy's histograms, and what is trained on."""

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from tiny_job import JOB, tiny_clip

from stdo.chunks.dct import Dct
from stdo.chunks.eps import Clusters, by_cluster, clusters
from stdo.chunks.grid import PatchGrid
from stdo.chunks.sample import First
from stdo.config.jobs import build_job
from stdo.config.trust import conf_dir
from stdo.core.types import UserError
from stdo.pipeline.steps import train
from stdo.runs.directory import read_chunks


def video(frames: int = 4) -> tuple[np.ndarray, np.ndarray, PatchGrid]:
    """LR and HR frames of which some patches are busy, and some change."""
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (frames, 48, 64, 3)) * np.linspace(0.05, 1, 64)[:, None]
    hr[:, 24:] = hr[:1, 24:]
    return rng.integers(0, 256, (frames, 24, 32, 3), np.uint8), hr.astype(np.uint8), GRID


GRID = PatchGrid(24, 32, 6, 8, scale=2)


def top(feature: np.ndarray, count: int) -> list[bool]:
    """Patches that numpy's histogram of a frame has in its last bin."""
    _, edges = np.histogram(feature, bins=count)
    return [value >= edges[-2] for value in feature.ravel()]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_clusters_are_the_bins_of_histograms(count: int) -> None:
    feature = np.random.default_rng(1).gamma(2.0, 5.0, (3, 4, 7))
    found = clusters(feature, count)
    for frame, bins in zip(feature, found, strict=True):
        counts, _ = np.histogram(frame, bins=count)
        assert np.bincount(bins.ravel(), minlength=count).tolist() == counts.tolist()
        assert (bins == count - 1).ravel().tolist() == top(frame, count)
    flat = np.where(np.arange(3)[:, None, None] == 1, 4.0, feature)
    assert (clusters(flat, count)[1] == count - 1).all(), "a feature that tells nothing apart"


@pytest.mark.parametrize("count", [2, 4])
def test_chunk_0_has_what_is_in_both_top_clusters_of_its_frame(count: int) -> None:
    lr, hr, grid = video()
    scorer = Clusters(block=4, clusters=count)
    spatial, temporal = Dct(block=4).features(zip(lr, hr, strict=True), grid)
    both = [
        [s and t for s, t in zip(top(one, count), top(other, count), strict=True)]
        for one, other in zip(spatial, temporal, strict=True)
    ]
    scores = scorer.scores(zip(lr, hr, strict=True), grid)
    labels = by_cluster(scores, count)
    assert scores.dtype == np.float32 and labels.dtype == np.int16
    assert (labels == 0).reshape(4, -1).tolist() == both
    assert 0 < np.sum(both) < labels.size / 2, "a few are enough"
    shown = First(labels.ravel().astype(int), np.zeros(labels.size, int), batch=4, passes=2, seed=0)
    drawn = {patch for step in range(shown.steps) for patch in shown.batch(step).tolist()}
    assert drawn == set(np.flatnonzero(np.ravel(both)).tolist())
    assert shown.presentations == 2 * labels.size, "equal work"
    assert shown.facts["joint_size"] == len(drawn)


def test_a_score_that_no_patch_has_makes_no_chunk() -> None:
    scores = np.array([[3.0, 1.0], [1.0, 7.0]])
    assert by_cluster(scores, 4).tolist() == [[1, 0], [0, 1]]
    assert by_cluster(scores, 2).tolist() == [[0, 0], [0, 0]]
    assert by_cluster(np.arange(6.0), 4).tolist() == [0, 1, 2, 3, 3, 3]
    with pytest.raises(UserError, match="chunks=0: must be a whole number"):
        by_cluster(scores, 0)


def test_keys_tell_clusters_apart() -> None:
    keys = {Clusters(clusters=n, block=b).key() for n in (2, 4) for b in (8, 32)}
    assert len(keys | {Dct().key()}) == 5
    with pytest.raises(UserError, match="scorer.frames=sr"):
        Clusters(frames="sr")


def configured(folder, *words: str):
    paths = [f"video.path={tiny_clip(folder / 'clip.mkv')}"]
    paths += [f"paths.{name}={folder}/{name}" for name in ("cache", "outputs")]
    with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
        return compose("train", [*JOB, *paths, "trainer=cpu", "method=eps", *words])


def test_a_run_trains_on_chunk_0_alone(tmp_path) -> None:
    job = build_job(configured(tmp_path, "patches.height=6", "patches.width=8"))
    metrics = train(job)
    labels, network_of = read_chunks(job.directory)
    first, *others = metrics["chunk_presentations"]
    assert first == metrics["patch_presentations"] and not any(others)
    assert metrics["joint_size"] == (labels == 0).sum() < labels.size / 2
    assert set(network_of) == {0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scorer=bicubic"], "^scorer=bicubic: must be eps with chunking=clusters"),
        (["init=warm"], "^init=warm: must be scratch or general with chunking=clusters"),
        (
            ["chunking=score", "chunking.thresholds=[1]"],
            r"^chunking.thresholds=\[1.*\]: must be null with scorer=eps",
        ),
    ],
)
def test_what_clusters_cannot_be_made_of_is_refused(tmp_path, words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_job(configured(tmp_path, *words))
    assert not (tmp_path / "cache").exists()
