"""Rounding weights on a real tiny run: what low bits cost, and how much less than the nearest
weights."""

import numpy as np
import pytest
import torch
from torch.func import functional_call

from stdo.core.networks import Networks
from stdo.encoder.rounding import WINDOWS, load_weights, rounded, windows_of
from stdo.evaluation.reconstruct import Reconstructor
from stdo.models.lowrank import LowRank
from stdo.models.modulated import Modulated
from stdo.models.pixels import to_float
from stdo.models.registry import build
from stdo.models.weights import load_networks
from stdo.package.weights import decode, encode, params_of
from stdo.pipeline.steps import Job, train
from stdo.runs.directory import WEIGHTS, read_chunks


class Run:
    """A finished run, and its PSNR with other weights."""

    def __init__(self, job: Job) -> None:
        self.job, self.data = job, job.data
        self.data.prepare_data()
        self.data.setup()
        self.labels, self.network_of = read_chunks(job.directory)
        self.networks, _ = load_networks(job.directory / WEIGHTS)
        self.weights = load_weights(job.directory / WEIGHTS)
        self.windows = windows_of(self.data.clip, self.labels, self.network_of)

    def psnr(self, weights: Networks, bits: int) -> float:
        """Of the whole video with the networks as a client decodes them."""
        data, count = self.data, len(self.networks)
        decoded = decode(encode(weights, bits), params_of(weights.bases[0]), count, bits)
        for network, tensors in zip(self.networks, decoded, strict=True):
            network.load_state_dict(
                {name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}
            )
        where = torch.device("cpu")
        frames = Reconstructor(self.networks, self.network_of, data.grid, where).frames(
            data.video.lr, self.labels
        )
        error = [
            np.square(np.subtract(sr, data.video.hr[t], dtype=np.float64)).mean()
            for t, (sr, _) in enumerate(frames)
        ]
        return float(10 * np.log10(65025 / np.mean(error)))


@pytest.fixture(scope="module")
def run(finished_job: Job) -> Run:
    return Run(finished_job)


@pytest.fixture(params=[Modulated, LowRank])
def changed_run(make_job, request: pytest.FixtureRequest) -> Run:
    job = make_job(sharing=request.param, halo=2, passes=4.0)
    train(job)
    return Run(job)


def test_windows_are_those_of_the_networks_patches(run: Run) -> None:
    every = {}
    for t in range(len(run.data.video.lr)):
        for patch, window in enumerate(run.data.grid.extract(np.asarray(run.data.video.lr[t]))):
            every.setdefault(window.tobytes(), set()).add(
                run.network_of[run.labels[t].ravel()[patch]]
            )
    for number, windows in enumerate(run.windows):
        assert 0 < len(windows) <= WINDOWS
        assert all(number in every[window.tobytes()] for window in windows)


def test_eight_bits_cost_at_most_five_hundredths_of_a_decibel(run: Run) -> None:
    before = run.psnr(run.weights, 32)
    close = rounded(run.weights, 8, run.networks[0], run.windows)
    assert before - run.psnr(close, 8) <= 0.05
    assert run.psnr(close, 8) > run.psnr(run.weights, 8)


@pytest.mark.slow
def test_rounding_leaves_less_error_than_the_nearest_weights(run: Run) -> None:
    before = run.psnr(run.weights, 32)
    for bits, share in ((6, 0.3), (4, 0.7)):
        close = rounded(run.weights, bits, run.networks[0], run.windows)
        assert before - run.psnr(close, bits) < share * (before - run.psnr(run.weights, bits))


def test_the_coder_does_not_round_again(run: Run) -> None:
    close = rounded(run.weights, 4, run.networks[0], run.windows)
    decoded = decode(encode(close, 4), params_of(close.bases[0]), len(close.bases), 4)
    for ours, theirs in zip(decoded, close.bases, strict=True):
        for name, tensor in theirs.items():
            assert np.array_equal(ours[name], tensor if tensor.ndim > 1 else np.float16(tensor)), (
                name
            )


def test_base_and_deltas_are_rounded_together(changed_run: Run) -> None:
    run = changed_run
    assert (len(run.weights.bases), len(run.weights.deltas)) == (1, 3)
    before = run.psnr(run.weights, 32)
    assert before == pytest.approx(run.psnr(Networks(run.weights.whole()), 32), abs=1e-3)
    eight = rounded(run.weights, 8, run.networks[0], run.windows)
    assert before - run.psnr(eight, 8) <= 0.05
    four = rounded(run.weights, 4, run.networks[0], run.windows)
    assert len(encode(four, 4)) < 0.6 * len(encode(Networks(four.whole()), 4))


def test_rounding_keeps_the_mean_where_plain_rounding_shifts_it() -> None:
    """A flat picture through bicubic ESPCN: nearest weights change its brightness, ours do not."""
    network = build("espcn", 2).eval()
    weights = Networks([{name: tensor.numpy() for name, tensor in network.state_dict().items()}])
    windows = np.random.default_rng(0).integers(100, 130, (4, 12, 12, 3)).astype(np.uint8)
    close = rounded(weights, 6, network, [windows])
    lr = to_float(torch.from_numpy(windows))

    def shift(used: Networks) -> float:
        state = decode(encode(used, 6), params_of(used.bases[0]), 1, 6)[0]
        tensors = {name: torch.from_numpy(np.array(tensor)) for name, tensor in state.items()}
        with torch.no_grad():
            return abs(float((functional_call(network, tensors, lr) - network(lr)).mean()))

    assert shift(close) < 0.1 * shift(weights)


def test_patches_drawn_for_rounding_depend_on_the_seed_alone(run: Run) -> None:
    again = windows_of(run.data.clip, run.labels, run.network_of)
    assert all(np.array_equal(a, b) for a, b in zip(run.windows, again, strict=True))
    other = windows_of(run.data.clip, run.labels, run.network_of, seed=1)
    assert any(not np.array_equal(a, b) for a, b in zip(run.windows, other, strict=True))
