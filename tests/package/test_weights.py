"""weights.bin: the quantiser is what its definition says, bytes are near the entropy, any bytes
survive."""

from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
import safetensors.torch
import torch

from stdo.core.networks import Delta, Networks, fold
from stdo.core.types import UserError
from stdo.encoder.rounding import load_weights
from stdo.models.lowrank import LowRank
from stdo.models.modulated import Modulated
from stdo.models.registry import build
from stdo.models.sharing import Independent
from stdo.models.weights import load_networks, read_safetensors, save_networks
from stdo.package.coding import join, split
from stdo.package.weights import BITS, decode, encode, params_of

SHAPES = {"a.weight": (6, 3, 3, 3), "a.bias": (6,), "b.weight": (4, 6, 5, 5), "b.bias": (4,)}


def network(seed: int = 0, shapes: dict = SHAPES) -> dict:
    rng = np.random.default_rng(seed)
    return {name: rng.laplace(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def modulation(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 0.1, (half, 2, 3)).astype(np.float32)
        for name, half in (("a", 3), ("b", 2))
    }


def of_inputs(seed: int) -> dict:
    return {"b": np.random.default_rng(seed).normal(0, 0.1, (3, 2, 3)).astype(np.float32)}


def difference(seed: int, rank: int = 2) -> dict:
    rng = np.random.default_rng(seed)
    sides = {"a": (18, 9), "b": (20, 30)}  # outputs · rows, inputs · columns
    return {
        name: rng.normal(0, 0.1, (min(rank, *side), sum(side))).astype(np.float32)
        for name, side in sides.items()
    }


DELTAS = {
    "modulations": (Delta.MODULATION, [modulation(i) for i in range(3)]),
    "modulations of inputs": (Delta.INPUTS, [of_inputs(i) for i in range(3)]),
    "differences": (Delta.LOW_RANK, [{}, difference(1), difference(2)]),
    # where a's matrix is 9 wide
    "rank 10": (Delta.LOW_RANK, [difference(i, 10) for i in range(3)]),
}


def back(weights: Networks, bits: int, **more) -> list[dict]:
    return decode(encode(weights, bits), params_of(weights.bases[0]), len(weights), bits, **more)


def definition(weight: np.ndarray, bits: int) -> np.ndarray:
    """Row by row, as docs/package.md says it."""
    out = np.empty_like(weight)
    for row, values in enumerate(weight):
        step = np.float32(np.float16(np.abs(values).max() / np.float32(2 ** (bits - 1) - 1)))
        out[row] = (
            np.float32([round(float(v / step)) for v in values.ravel()]).reshape(values.shape)
            * step
        )
    return out


def test_32_bits_are_exact_and_16_are_float16() -> None:
    weights = Networks([network(0), network(1)])
    for ours, theirs in zip(back(weights, 32), weights.bases, strict=True):
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    for ours, theirs in zip(back(weights, 16), weights.bases, strict=True):
        assert all(np.array_equal(ours[name], theirs[name].astype(np.float16)) for name in theirs)
        assert list(ours) == list(theirs)
        assert all(tensor.dtype == np.float32 for tensor in ours.values())


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_low_bits_are_multiples_of_a_step_per_row(bits: int) -> None:
    weights = Networks([network(0), network(1)])
    for ours, theirs in zip(back(weights, bits), weights.bases, strict=True):
        for name, tensor in theirs.items():
            expected = definition(tensor, bits) if tensor.ndim > 1 else tensor.astype(np.float16)
            assert np.array_equal(ours[name], expected), name


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_weights_that_are_multiples_of_given_steps_stay_as_they_are(bits: int) -> None:
    rng = np.random.default_rng(3)
    steps = {
        name: np.float32(np.float16(rng.uniform(0.01, 0.1, shape[0])))
        for name, shape in SHAPES.items()
    }
    tensors = network()
    # Far from the greatest symbol, so no step could be guessed from them
    for name in ("a.weight", "b.weight"):
        symbols = rng.integers(-3, 4, SHAPES[name]).astype(np.float32)
        tensors[name] = symbols * steps[name][:, None, None, None]
    given = {name: steps[name] for name in ("a.weight", "b.weight")}
    ours = back(Networks([tensors], steps=[given]), bits)[0]
    assert all(np.array_equal(ours[name], tensors[name]) for name in given)


@pytest.mark.parametrize(
    ("draw", "bits"), [("normal", 8), ("laplace", 8), ("normal", 4), ("laplace", 4)]
)
def test_bytes_are_close_to_the_entropy(draw: str, bits: int) -> None:
    rng = np.random.default_rng(0)
    weight = getattr(rng, draw)(0, 0.1, (64, 64, 3, 3)).astype(np.float32)
    symbols = np.concatenate(
        [np.rint(row / (np.abs(row).max() / (2 ** (bits - 1) - 1))).ravel() for row in weight]
    )
    share = np.unique(symbols, return_counts=True)[1] / symbols.size
    entropy = -(share * np.log2(share)).sum() * symbols.size / 8
    size = len(encode(Networks([{"w.weight": weight}]), bits))
    assert entropy * 0.95 < size < entropy * 1.03 + 3 * 64 + 64  # a step and a table for each row


def test_a_pass_through_network_shrinks_far_below_its_bits() -> None:
    tensors = {
        name: value.detach().numpy() for name, value in build("espcn", 4).state_dict().items()
    }
    assert len(encode(Networks([tensors]), 8)) < 0.75 * sum(
        tensor.size for tensor in tensors.values()
    )


def test_rows_of_zeros_and_of_next_to_nothing() -> None:
    tensors = {"w.weight": np.zeros((3, 2, 1, 1), np.float32), "w.bias": np.zeros(3, np.float32)}
    tensors["w.weight"][1] = 1e-9
    tensors["w.weight"][2] = 1e-4
    for bits in BITS:
        ours = back(Networks([tensors]), bits)[0]["w.weight"]
        assert not ours[0].any()
        np.testing.assert_allclose(ours[2], 1e-4, rtol=0.1)


# With ordinary and with weight-normalised convolutions
@pytest.mark.parametrize("name", ["espcn", "wdsr"])
@pytest.mark.parametrize("sharing", [Independent, Modulated, LowRank])
def test_a_runs_file_gives_what_the_networks_are_made_of(
    tmp_path: Path, name: str, sharing: type
) -> None:
    made = sharing(partial(build, name, 2, init="paper"), 2)
    for key, parameter in made.named_parameters():
        if key == "gain" or key.endswith(".left"):
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    save_networks(tmp_path / "w.safetensors", made)
    weights = load_weights(tmp_path / "w.safetensors")
    assert len(weights.bases) == (2 if sharing is Independent else 1)
    assert len(load_networks(tmp_path / "w.safetensors")[0]) == 2
    exact = back(weights, 32)
    for chunk, ours in enumerate(exact):
        expected = made.network(chunk).state_dict()
        assert list(ours) == list(expected)
        for key, tensor in expected.items():
            np.testing.assert_allclose(ours[key], tensor.numpy(), atol=1e-6, rtol=1e-6)


def test_a_file_whose_differences_do_not_fit_is_refused(tmp_path: Path) -> None:
    made, path = LowRank(partial(build, "srcnn", 2), 3, rank=20), tmp_path / "w.safetensors"
    save_networks(path, made)
    tensors, meta = read_safetensors(path)
    assert tensors["difference.1.last"].shape == (15, 15 + 160), (
        "3 outputs of 5 rows, 32 inputs of 5 columns"
    )
    assert load_weights(path).deltas[0] == {}
    for change in (
        {"difference.1.last": tensors["difference.1.last"][:2]},
        {"difference.1.last": tensors["difference.1.last"][:, :-1]},
        {"difference.1.first": tensors["difference.1.first"][:0]},
        {f"difference.{i}.first": tensors[f"difference.{i}.first"][:2] for i in (1, 2)},
        {"difference.2.unknown": tensors["difference.1.last"]},
        {f"difference.{i}.first": torch.zeros(256, 999) for i in (1, 2)},
        {"modulation.1.first": torch.zeros(32, 2, 3)},
        {"base.first.bias": torch.zeros(3)},
    ):
        broken = {key: tensor.clone() for key, tensor in (tensors | change).items()}
        safetensors.torch.save_file(broken, tmp_path / "broken.safetensors", meta)
        with pytest.raises(UserError, match="do not fit"):
            load_weights(tmp_path / "broken.safetensors")


def test_a_file_from_before_bases_were_kept_is_sent_as_networks(tmp_path: Path) -> None:
    made = Modulated(partial(build, "espcn", 2), 2)
    save_networks(tmp_path / "w.safetensors", made)
    tensors, meta = read_safetensors(tmp_path / "w.safetensors")
    old = {key: tensor for key, tensor in tensors.items() if key.startswith("network.")}
    safetensors.torch.save_file(old, tmp_path / "old.safetensors", meta)
    assert len(load_weights(tmp_path / "old.safetensors").bases) == 2
    broken = {key: tensor for key, tensor in tensors.items() if key != "inputs.1.second"}
    safetensors.torch.save_file(broken, tmp_path / "broken.safetensors", meta)
    with pytest.raises(UserError, match="do not fit"):
        load_weights(tmp_path / "broken.safetensors")


@pytest.mark.parametrize("bits", BITS)
def test_modulations_cost_little_and_fold_on_the_client(bits: int) -> None:
    weights = Networks([network()], Delta.MODULATION, [modulation(i) for i in range(3)])
    base = back(Networks(weights.bases), bits)[0]
    for ours, mix in zip(back(weights, bits), weights.deltas, strict=True):
        expected = fold(base, Delta.MODULATION, mix)
        for name, tensor in expected.items():
            # a modulation of at least 8 bits is off by half a step of its row, twice over the two
            # outputs of a pair
            np.testing.assert_allclose(ours[name], tensor, atol=0.004 if bits <= 8 else 1e-3)
    assert len(encode(weights, bits)) < len(encode(Networks([network()] * 3), bits))


@pytest.mark.parametrize("kind", ["differences", "rank 10"])
@pytest.mark.parametrize("bits", BITS)
def test_low_rank_differences_are_added_on_the_client(bits: int, kind: str) -> None:
    """Against numpy alone: the base as it is sent, and factors with one step of at most 4 bits for
    each row."""
    weights = Networks([network()], *DELTAS[kind])
    base = back(Networks(weights.bases), bits)[0]
    for ours, delta in zip(back(weights, bits), weights.deltas, strict=True):
        for name, high in (("a", 18), ("b", 20)):
            weight, bias = base[f"{name}.weight"], base[f"{name}.bias"]
            if delta:
                left, right = np.split(delta[name], [high], axis=1)
                if bits == 16:
                    left, right = left.astype(np.float16), right.astype(np.float16)
                if bits < 16:
                    left, right = definition(left, min(bits, 4)), definition(right, min(bits, 4))
                left, right = left.astype(np.float32), right.astype(np.float32)
                down = left.reshape(len(left), len(bias), -1)
                across = right.reshape(len(right), weight.shape[1], -1)
                weight = weight + np.einsum("roy,rix->oiyx", down, across)
            np.testing.assert_allclose(ours[f"{name}.weight"], weight, atol=1e-5)
            np.testing.assert_allclose(ours[f"{name}.bias"], bias, atol=1e-5)
    assert kind == "rank 10" or len(encode(weights, bits)) < len(
        encode(Networks([network()] * 3), bits)
    )


def test_differences_that_cannot_be_are_refused() -> None:
    data, params = encode(Networks([network()], *DELTAS["differences"]), 8), params_of(network())
    parts = [part for part, _ in split(data, "weights.bin", 5)]
    assert parts[0] == bytes([8, 0b10100000, 2]) and parts[2] == b""
    shapes = dict(params)
    for header, words in (
        (bytes([8, 0b10100000, 0]), "a cannot be modulated"),  # it has three inputs
        (bytes([8, 0b10100000, 2, 2]), "its header"),
        # Modulations of these sizes are other bytes
        (bytes([8, 0b10100000]), "a row names no table"),
        (bytes([8, 0b10100000, 255]), "a row names no table"),
        (bytes([8, 0b01100000, 2]), "a.bias cannot be changed"),
        (bytes([8, 0, 2]), "4 parts are not 3 networks"),
    ):
        with pytest.raises(UserError, match=f"^weights.bin: damaged .*({words})"):
            decode(join([header, *parts[1:]]), params, 3, 8)
    with pytest.raises(UserError, match="a cannot be changed"):
        decode(data, list((shapes | {"a.bias": (5,)}).items()), 3, 8)
    huge = Networks(
        [network()],
        Delta.LOW_RANK,
        [{}, {name: change * np.float32(1e30) for name, change in difference(1).items()}],
    )
    with pytest.raises(UserError, match="a delta leads to numbers that are not finite"):
        back(huge, 32)


@pytest.mark.parametrize(("bits", "count"), [(8, 1), (4, 1), (32, 3)])
def test_deltas_that_change_nothing_are_sent_as_networks(bits: int, count: int) -> None:
    """The first chunk of a low-rank run changes nothing, and it may be the only one."""
    decoded = back(Networks([network()], Delta.LOW_RANK, [{}] * count), bits)
    expected = back(Networks([network()]), bits)[0]
    assert len(decoded) == count
    for each in decoded:
        assert all(np.array_equal(each[name], tensor) for name, tensor in expected.items())


def test_the_first_bytes_hold_the_first_networks() -> None:
    for weights in (
        Networks([network(i) for i in range(3)]),
        *(Networks([network()], *each) for each in DELTAS.values()),
    ):
        for bits in (32, 8):
            data, params = encode(weights, bits), params_of(network())
            part = [
                decode(data, params, 3, bits, most)
                for most in (0, *range(1, len(data), 61), len(data) - 1, len(data))
            ]
            counts = [len(networks) for networks in part]
            assert counts[0] == 0
            assert counts[-2:] == [2, 3]
            assert counts == sorted(counts)
            assert all(np.array_equal(part[-1][1][name], part[-2][1][name]) for name in SHAPES)


def test_what_cannot_be_coded_is_refused() -> None:
    with pytest.raises(UserError, match=r"weights.bits=5: must be one of 32, 16, 8, 6, 4"):
        encode(Networks([network()]), 5)
    for bad in (np.nan, np.inf):
        tensors = network()
        tensors["a.bias"][1] = bad
        with pytest.raises(UserError, match="not finite"):
            encode(Networks([tensors]), 32)
    tensors = network()
    tensors["a.weight"][0] = 1e6
    with pytest.raises(UserError, match="needs 32 bits"):
        encode(Networks([tensors]), 8)


def test_the_wrong_description_is_refused() -> None:
    weights = Networks([network(0), network(1)])
    data, params = encode(weights, 8), params_of(network())
    shapes = dict(params)
    wrong_shape = list((shapes | {"a.weight": (6, 3, 3, 5)}).items())
    for args in (
        (params, 1, 8),
        (params, 3, 8),
        (params, 2, 6),
        (params, 2, 32),
        (wrong_shape, 2, 8),
        (params[:2], 2, 8),
    ):
        with pytest.raises(UserError, match=r"weights.bin: damaged"):
            decode(data, *args)
    data = encode(Networks([network()], Delta.MODULATION, [modulation(0), modulation(1)]), 8)
    odd = list((shapes | {"a.weight": (5, 3, 3, 3), "a.bias": (5,)}).items())
    with pytest.raises(UserError, match="a cannot be modulated"):
        decode(data, odd, 2, 8)


def test_huge_networks_cannot_be_claimed_by_few_bytes() -> None:
    tensors = {"w.weight": np.zeros((4, 8, 1, 1), np.float32)}
    data = encode(Networks([tensors]), 8)
    began = monotonic()
    claims = (
        [("w.weight", (4, 1 << 28, 1, 1))],
        [("w.weight", (1 << 28, 4, 1, 1))],
        [("w.bias", (1 << 28,))],
    )
    for params in claims:
        for bits in (8, 16, 32):
            with pytest.raises(UserError, match=r"weights.bin: damaged"):
                decode(data.replace(b"\x08", bytes([bits]), 1), params, 1, bits)
    assert monotonic() - began < 1


@pytest.mark.parametrize("bits", [16, 8, 4])
@pytest.mark.parametrize("deltas", ["", *DELTAS])
def test_any_bytes_end_in_an_error_or_in_networks(bits: int, deltas: str) -> None:
    weights = (
        Networks([network(0)], DELTAS[deltas][0], DELTAS[deltas][1][:2])
        if deltas
        else Networks([network(0), network(1)])
    )
    data, params, rng = encode(weights, bits), params_of(network()), np.random.default_rng(bits)
    refused = []
    for _ in range(400):
        broken = mutated(data, rng)
        try:
            networks = decode(broken, params, 2, bits)
        except UserError as error:
            refused.append(str(error))
        else:
            assert [params_of(tensors) for tensors in networks] == [params, params]
            assert all(
                np.isfinite(tensor).all() for tensors in networks for tensor in tensors.values()
            )
    assert refused
    assert all(
        message.startswith("weights.bin: damaged") and "\n" not in message for message in refused
    )


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped, cut short, made longer, bytes moved or replaced at random, favouring the
    header."""
    broken = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(
            rng.integers(min(len(broken), 40) if rng.random() < 0.5 else len(broken))
            if broken
            else 0
        )
        match rng.integers(5):
            case 0:
                broken[at : at + 1] = (
                    bytes([broken[at] ^ 1 << int(rng.integers(8))]) if broken else b""
                )
            case 1:
                del broken[at:]
            case 2:
                broken[at:at] = rng.bytes(int(rng.integers(1, 9)))
            case 3:
                del broken[at : at + int(rng.integers(1, 9))]
            case 4:
                broken[at : at + 4] = rng.bytes(4)
    return bytes(broken)


def test_the_format_is_what_it_was() -> None:
    """Bytes written by the first version: what was delivered must play for ever."""
    written = bytes.fromhex(GOLDEN)
    tensors = {
        "w.weight": np.arange(-6, 6, dtype=np.float32).reshape(2, 6, 1, 1) / 8,
        "w.bias": np.float32([0.5, -1]),
    }
    assert encode(Networks([tensors]), 4) == written
    ours = decode(written, params_of(tensors), 1, 4)[0]
    assert np.array_equal(ours["w.weight"], definition(tensors["w.weight"], 4))


GOLDEN = "02000000010000001200000004003800bcdb2eb72d3f164635ee81aeb2948b"
