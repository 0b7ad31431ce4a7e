"""Updates in weights.bin: added up in order, within a few per cent of the least bytes, and any
bytes survive."""

from contextlib import suppress
from math import lgamma, log

import numpy as np
import pytest

from stdo.core.networks import PLACES, VALUES, Delta, Networks
from stdo.core.types import UserError
from stdo.package import updates
from stdo.package.coding import join, split
from stdo.package.weights import Stored, decode, encode, params_of, sizes

SHAPES = {"a.weight": (6, 3, 3, 3), "a.bias": (6,), "b.weight": (40, 6, 5, 5), "b.bias": (40,)}
SIZE = sum(int(np.prod(shape)) for shape in SHAPES.values())


def base(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {name: rng.laplace(0, 0.1, shape).astype(np.float32) for name, shape in SHAPES.items()}


def update(seed: int, count: int = 300) -> dict:
    rng = np.random.default_rng(seed)
    places = np.sort(rng.permutation(SIZE)[:count])
    return {PLACES: places, VALUES: rng.laplace(0, 0.01, count).astype(np.float32)}


def chain(*deltas: dict) -> Networks:
    return Networks([base()], Delta.UPDATE, list(deltas))


CHAIN = chain({}, update(1), update(2, 7), update(3, SIZE), update(4))


def back(networks: Networks, bits: int) -> list[dict]:
    return decode(encode(networks, bits), params_of(base()), len(networks), bits)


def flat(tensors: dict) -> np.ndarray:
    return np.concatenate([tensor.ravel() for tensor in tensors.values()])


def added(networks: Networks, start: np.ndarray) -> list[np.ndarray]:
    """The oracle: one array, to which the values are added one after another."""
    now, found = start.copy(), []
    for delta in networks.deltas:
        for place, value in zip(delta.get(PLACES, ()), delta.get(VALUES, ()), strict=True):
            now[place] += value
        found.append(now.copy())
    return found


def test_at_32_bits_every_network_is_the_sum_of_all_before_it() -> None:
    for ours, theirs in zip(back(CHAIN, 32), added(CHAIN, flat(base())), strict=True):
        assert list(ours) == list(SHAPES)
        assert np.array_equal(flat(ours), theirs)


@pytest.mark.parametrize("bits", [16, 8, 6, 4])
def test_at_fewer_bits_values_are_rounded_and_errors_do_not_add_up(bits: int) -> None:
    """As far off as the last update that changed a weight rounds it, however many came before."""
    many = chain({}, *(update(seed, SIZE if seed == 3 else 900) for seed in range(30)))
    ours = [flat(each) for each in back(many, bits)]
    alone = decode(encode(chain({}), bits), params_of(base()), 1, bits)
    assert np.array_equal(ours[0], flat(alone[0]))
    truth = added(many, flat(base()))
    most = 2 ** (min(bits, 6) - 1) - 1
    for number in range(1, 31):
        before, after, delta = ours[number - 1], ours[number], many.deltas[number]
        assert set(np.flatnonzero(before != after)) <= set(delta[PLACES])
        off = (after - ours[0]) - (truth[number] - truth[0])
        largest = np.abs(delta[VALUES]).max() * (1 + 1 / most)
        share = 0.51 / most if bits < 16 else 0.001
        assert np.abs(off[delta[PLACES]]).max() <= share * largest + 1e-6


def test_networks_are_the_same_in_whatever_order_they_are_asked_for() -> None:
    data, params = encode(CHAIN, 8), params_of(base())
    straight = [flat(each) for each in decode(data, params, 5, 8)]
    for order in ([4, 0, 3], [2, 4, 1], [0, 0, 4]):
        stored = Stored(data, params, 5, 8)
        for index in order:
            assert np.array_equal(flat(stored[index]), straight[index])
    few = Stored(data, params, 5, 8, max_bytes=len(data) - 1)
    assert len(few) == 4 and np.array_equal(flat(few[3]), straight[3])


def test_places_take_about_as_many_bits_as_there_are_ways_to_choose_them() -> None:
    params = [("w.weight", (64, 64, 3, 3))]
    size = 64 * 64 * 9
    for count in (1, 40, 1843, 18432, 36000):
        places = np.sort(np.random.default_rng(count).permutation(size)[:count])
        counts, code = updates.encode(places, params)
        least = (lgamma(size + 1) - lgamma(count + 1) - lgamma(size - count + 1)) / log(2) / 8
        assert counts == [count] and least - 1 < len(code) <= 1.02 * least + 16
        again = updates.decode(memoryview(code), params)
        assert np.array_equal(again[1], places) and again[::2] == ([count], len(code))


def test_the_bytes_of_every_update_are_told() -> None:
    data = encode(CHAIN, 8)
    parts = sizes(data)
    assert len(parts) == 6 and parts[1] == 0 and sum(parts) + 4 * 8 + 3 == len(data)
    assert 0 < parts[3] < parts[2] < parts[4] < parts[0]


def test_updates_that_change_nothing_are_one_network() -> None:
    ours = back(chain({}, {}, {}), 8)
    assert all(np.array_equal(flat(each), flat(ours[0])) for each in ours)


def test_any_bytes_are_read_or_refused() -> None:
    data, params = encode(CHAIN, 8), params_of(base())
    rng = np.random.default_rng(0)
    for _ in range(400):
        harmed = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            harmed[at] = rng.integers(0, 256)
        cut = bytes(harmed[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else harmed)
        with suppress(UserError):
            for tensors in decode(cut, params, 5, 8):
                assert np.isfinite(flat(tensors)).all()


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((7, 0, 0, 41), "more weights than there are"),
        ((0, 0, 0, 0), "more weights than there are, or none"),
        ((2**32 - 1, 0, 0, 0), "more weights than there are"),
        ((3, 0, 0, 0), "damaged"),
    ],
)
def test_counts_that_are_none_of_an_update_are_refused(counts, said) -> None:
    header, first, _, *_ = (bytes(part) for part, _ in split(encode(CHAIN, 8), "w", 9))
    false = np.array([*counts, 8], "<u4").tobytes() + bytes(64)
    with pytest.raises(UserError, match=said):
        decode(join([header, first, false]), params_of(base()), 1, 8)
