"""chunks.bin: exact for any labels, cheap where scenes stand still, segment by segment, and any
bytes survive."""

from time import monotonic

import numpy as np
import pytest

from stdo.chunks.split import by_score, by_time
from stdo.core.types import UserError
from stdo.package.labels import MOST_LABELS, SPAN, Labels, decode, encode


def share(labels: np.ndarray, chunks: int) -> float:
    """Of the bits that log2(chunks) per label would take."""
    return 8 * len(encode(labels, chunks)) / (labels.size * np.log2(chunks))


def scores(frames: int, noise: float, seed: int = 0) -> np.ndarray:
    """A still scene of 5 x 10 patches whose scores tremble by ``noise`` dB."""
    rng = np.random.default_rng(seed)
    return rng.normal(30, 5, (1, 5, 10)) + rng.normal(0, noise, (frames, 5, 10))


@pytest.mark.parametrize("chunks", [1, 2, 3, 4, 8, 300, 32767])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 5, 10), (40, 3, 1), (SPAN, 2, 3), (SPAN + 1, 2, 3)]
)
def test_comes_back_exactly(shape: tuple, chunks: int) -> None:
    rng = np.random.default_rng(chunks)
    wild = rng.integers(0, chunks, shape).astype(np.int16)
    calm = np.clip(
        np.cumsum(rng.integers(-1, 2, shape) * (rng.random(shape) < 0.1), axis=0), 0, chunks - 1
    )
    for labels in (wild, calm.astype(np.int16)):
        ours = decode(encode(labels, chunks), shape, chunks)
        assert ours.dtype == np.int16
        assert np.array_equal(ours, labels)


@pytest.mark.parametrize("chunks", [2, 4, 8])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_static_scene_costs_under_15_percent_of_plain_labels(chunks: int, noise: float) -> None:
    for frames in (60, 300):
        assert share(by_score(scores(frames, noise), chunks), chunks) < 0.15


def test_chunks_by_time_cost_little() -> None:
    assert share(by_time(np.zeros((300, 5, 10)), 4), 4) < 0.1


def test_wild_labels_cost_at_most_a_third_more_than_plain_ones() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (300, 5, 10)).astype(np.int16)
    assert 1 < share(labels, 4) < 1.34


def test_one_chunk_costs_nothing_but_the_table_of_sizes() -> None:
    assert len(encode(np.zeros((300, 5, 10), np.int16), 1)) == 4 + 4 * 2


def test_any_frame_can_be_read_first() -> None:
    labels = by_score(scores(3 * SPAN - 5, 1.0), 4)
    read = Labels(encode(labels, 4), labels.shape, 4)
    assert len(read) == len(labels)
    for t in (700, 0, 255, 256, 511, 512, 762, 3):
        assert np.array_equal(read[t], labels[t])
    for t in (-1, len(labels)):
        with pytest.raises(IndexError):
            read[t]


def test_the_wrong_description_is_refused() -> None:
    data = encode(by_score(scores(300, 0.1), 4), 4)
    for shape, chunks in (
        ((300, 5, 10), 0),
        ((300, 5, 10), 40000),
        ((0, 5, 10), 4),
        ((300, MOST_LABELS, 2), 4),
    ):
        with pytest.raises(UserError, match="must be"):
            Labels(data, shape, chunks)
    for frames in (200, 600, 10_000_000):
        with pytest.raises(UserError, match=r"chunks.bin: damaged"):
            Labels(data, (frames, 5, 10), 4)


def test_any_bytes_end_in_an_error_or_in_labels() -> None:
    shape, chunks = (SPAN + 9, 2, 3), 4
    rng = np.random.default_rng(0)
    data = encode(by_score(rng.normal(30, 1, shape), chunks), chunks)
    began, refused = monotonic(), []
    for number in range(2000):
        broken = bytearray(data)
        at = int(rng.integers(len(broken)))
        if number % 4 == 0:
            del broken[at:]
        elif number % 4 == 1:
            broken[at : at + 8] = rng.bytes(8)
        else:
            broken[at] ^= 1 << int(rng.integers(8))
        try:
            labels = Labels(bytes(broken), shape, chunks)
            frame = labels[shape[0] - 1 if number % 20 else 0]
            assert frame.shape == shape[1:]
            assert 0 <= frame.min() <= frame.max() < chunks
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 500
    assert all(
        message.startswith("chunks.bin: damaged") and "\n" not in message for message in refused
    )
    assert monotonic() - began < 60


def test_the_format_is_what_it_was() -> None:
    """Bytes written by the first version: what was delivered must play for ever."""
    labels = np.array([0, 1, 2, 3, 1, 1, 2, 3, 1, 0, 3, 3, 2, 0, 0, 3], np.int16).reshape(4, 2, 2)
    assert encode(labels, 4) == bytes.fromhex(GOLDEN)
    assert np.array_equal(decode(bytes.fromhex(GOLDEN), (4, 2, 2), 4), labels)


GOLDEN = "0100000008000000ba2efa1b1b281a75"
