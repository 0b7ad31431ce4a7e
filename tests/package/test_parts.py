"""Labels and networks of several parts, numbered through."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from test_weights import DELTAS, network

from stdo.core.networks import Networks
from stdo.core.types import Colour, UserError
from stdo.package import coding, labels, weights
from stdo.package.manifest import (
    Manifest,
    Network,
    Patches,
    Quantiser,
    Stream,
    VideoPart,
    from_json,
    to_json,
)
from stdo.package.parts import labels_of, networks_of
from stdo.package.source import Source

FRAMES = (300, 1, 20)
CHUNKS = (3, 1, 2)
"""Of each part; each chunk has a network."""


@dataclass
class Parts:
    """Three parts, and what they hold."""

    manifest: Manifest
    chunks: list[bytes]
    weights: list[bytes]
    labels: np.ndarray


@pytest.fixture(params=["plain", "differences", "modulations"])
def parts(request: pytest.FixtureRequest) -> Parts:
    own = [Networks([network(10 * n + i) for i in range(count)]) for n, count in enumerate(CHUNKS)]
    if request.param != "plain":
        kind, deltas = DELTAS[request.param]
        own = [Networks([network(n)], kind, deltas[:count]) for n, count in enumerate(CHUNKS)]
    rng = np.random.default_rng(0)
    found = [
        rng.integers(0, count, (frames, 2, 3)).astype(np.int16)
        for frames, count in zip(FRAMES, CHUNKS, strict=True)
    ]
    manifest = Manifest(
        generator="tests",
        name="parts",
        scale=2,
        source=Source.of(60, 40, sum(FRAMES), Fraction(25), Colour("bt709", "limited")),
        lr=Stream("lr.mp4", 30, 20, "lossless", None, None, 0),
        grid=Patches(10, 10, 0),
        network=Network(
            "espcn", tuple(weights.params_of(network())), 6, (0, 1, 2, 3, 4, 5), 2, "none"
        ),
        quantiser=Quantiser(8),
        quality=None,
        bicubic=None,
        members={},
        parts=(VideoPart(0, 3, 3), VideoPart(300, 1, 1), VideoPart(301, 2, 2)),
    )
    offsets = (0, 3, 4)
    return Parts(
        manifest,
        [labels.encode(each, count) for each, count in zip(found, CHUNKS, strict=True)],
        [weights.encode(each, 8) for each in own],
        np.concatenate([each + offset for each, offset in zip(found, offsets, strict=True)]),
    )


def test_labels_are_those_of_the_parts_from_any_frame_on(parts: Parts) -> None:
    assert from_json(to_json(parts.manifest)) == parts.manifest
    assert b'"version":2' in to_json(parts.manifest)
    found = labels_of(coding.join(parts.chunks), parts.manifest)
    assert len(found) == sum(FRAMES)
    for t in (*range(len(found)), 0, 320, 300, 299, 301):
        assert np.array_equal(found[t], parts.labels[t]), t
    for t in (-1, len(found)):
        with pytest.raises(IndexError):
            found[t]


def test_networks_are_those_of_the_parts_as_far_as_they_have_arrived(parts: Parts) -> None:
    data, params = coding.join(parts.weights), parts.manifest.network.params
    alone = [
        tensors
        for blob, count in zip(parts.weights, CHUNKS, strict=True)
        for tensors in weights.decode(blob, params, count, 8)
    ]
    found = networks_of(data, parts.manifest)
    for index in (*range(6), 0, 5, 3, 2):
        for name, tensor in found[index].items():
            assert np.array_equal(tensor, alone[index][name]), (index, name)
    head = 4 * (1 + len(CHUNKS))
    ends = np.cumsum([len(blob) for blob in parts.weights]) + head
    for arrived, count in ((0, 0), (ends[0] - 1, 2), (ends[0], 3), (ends[1], 4), (ends[2], 6)):
        assert len(networks_of(data, parts.manifest, int(arrived))) == count, arrived
    assert len(networks_of(data, parts.manifest)[2:5]) == 3


def test_other_parts_than_the_manifest_tells_are_one_line(parts: Parts) -> None:
    for blobs, said in (
        (parts.weights[:2], "2 parts, where 3 belong"),
        ([*parts.weights, b""], "4 parts, where 3 belong"),
        (parts.weights[::-1], "weights.bin: damaged"),
        ([b"", *parts.weights[1:]], "weights.bin: damaged"),
    ):
        with pytest.raises(UserError, match=said):
            networks_of(coding.join(blobs), parts.manifest)
    with pytest.raises(UserError, match=r"chunks\.bin: damaged"):
        labels_of(coding.join(parts.chunks[::-1]), parts.manifest)
    with pytest.raises(UserError, match=r"weights\.bin: damaged"):
        networks_of(parts.weights[0], parts.manifest)
