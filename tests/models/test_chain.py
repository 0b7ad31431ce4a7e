"""A chain: each network is the one before with an update added, which changes no more weights than
it may."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stdo.core.networks import Delta
from stdo.core.types import UserError
from stdo.encoder.rounding import load_weights
from stdo.models.chain import Chain
from stdo.models.registry import BACKBONES, build
from stdo.models.sharing import Single
from stdo.models.weights import load_networks, read_safetensors, save_networks, write_safetensors

CHUNKS = 3


def arrays(network) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def trained(name: str, fraction: float = 0.1, scale: int = 2) -> Chain:
    """As if trained: an optimizer may move every weight, chosen or not."""
    chain = Chain(partial(build, name, scale, init="paper"), CHUNKS, seed=5, fraction=fraction)
    generator = torch.Generator().manual_seed(1)
    chain.begin(0)
    for chunk in (1, 2):
        importance = torch.rand(chain.params_base, generator=generator)
        chain.begin(chunk, chain.farthest(importance) if fraction < 1 else None)
        with torch.no_grad():
            for parameter in chain.following.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        chain.end()
    return chain


@pytest.mark.parametrize("name", BACKBONES)
def test_consecutive_networks_differ_in_the_given_share_and_nothing_else(name: str) -> None:
    chain = trained(name)
    networks = [arrays(chain.network(chunk)) for chunk in range(CHUNKS)]
    first = arrays(Single(partial(build, name, 2, init="paper"), 1, seed=5).network(0))
    assert all(np.array_equal(networks[0][key], first[key]) for key in first)
    size = sum(array.size for array in first.values())
    for before, after in pairwise(networks):
        assert before.keys() == after.keys() == first.keys()
        changed = sum(int((before[key] != after[key]).sum()) for key in first)
        assert changed == round(0.1 * size) == chain.params_per_chunk
    assert chain.params == size + 2 * round(0.1 * size)


@pytest.mark.parametrize("fraction", [0.02, 1.0])
def test_the_updates_added_in_order_by_numpy_are_the_networks(tmp_path, fraction: float) -> None:
    chain = trained("fsrcnn", fraction)
    save_networks(tmp_path / "weights.safetensors", chain)
    held = load_file(tmp_path / "weights.safetensors")
    names = list(arrays(chain.network(0)))  # in the order of the network's state
    flat = np.concatenate([held[f"base.{name}"].ravel() for name in names])
    for chunk in range(CHUNKS):
        if chunk:
            flat[held[f"update.{chunk}.places"]] += held[f"update.{chunk}.values"]
        network = arrays(chain.network(chunk))
        assert np.array_equal(flat, np.concatenate([network[name].ravel() for name in names]))
    loaded, _ = load_networks(tmp_path / "weights.safetensors")
    sent = load_weights(tmp_path / "weights.safetensors")
    assert sent.kind is Delta.UPDATE and not sent.deltas[0]
    for chunk, whole in enumerate(sent.whole()):
        again = arrays(loaded[chunk])
        assert list(whole) == names and all(np.array_equal(whole[n], again[n]) for n in names)


@pytest.mark.parametrize("name", BACKBONES)
def test_training_sees_the_network_that_learns_and_evaluation_each_its_own(name: str) -> None:
    chain = trained(name)
    lr, chunk = torch.rand(3, 3, 12, 14), torch.tensor([2, 0, 1])
    learning = chain.train()(lr, chunk)
    torch.testing.assert_close(learning, chain.network(2)(lr), rtol=1e-4, atol=1e-5)
    expected = torch.cat([chain.network(int(c))(x[None]) for c, x in zip(chunk, lr, strict=True)])
    torch.testing.assert_close(chain.eval()(lr, chunk), expected, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_chosen_weights_alone() -> None:
    chain = Chain(partial(build, "espcn", 2), CHUNKS, fraction=0.01)
    places = torch.tensor([3, 400, 5000])
    chain.begin(1, places)
    chain.train()(
        torch.rand(2, 3, 12, 14), torch.zeros(2, dtype=torch.int64)
    ).square().sum().backward()
    flat = torch.cat([each.grad.flatten() for each in chain.following.parameters()])
    assert set(flat.nonzero().flatten().tolist()) <= set(places.tolist())
    assert all(each.grad is None for each in chain.backbone.parameters())


def test_the_most_important_weights_are_chosen_and_equal_ones_in_their_order() -> None:
    chain = Chain(partial(build, "espcn", 2), 2, fraction=0.001)
    importance = torch.zeros(chain.params_base)
    importance[[7, 9000]] = 5.0
    count = chain.params_per_chunk
    assert chain.farthest(importance).tolist() == [*range(7), *range(7, count - 1), 9000]


def test_one_network_that_goes_on_is_trained_in_all_its_weights() -> None:
    chain = trained("espcn", 1.0)
    before, after = arrays(chain.network(1)), arrays(chain.network(2))
    assert all((before[name] != after[name]).mean() > 0.99 for name in before)


@pytest.mark.parametrize("settings", [{"fraction": 0}, {"fraction": 1.5}, {"choose": "size"}])
def test_settings_out_of_range_are_named(settings) -> None:
    with pytest.raises(UserError, match=f"sharing.{next(iter(settings))}="):
        Chain(partial(build, "espcn", 2), 2, **settings)


def test_updates_that_fit_no_network_are_refused(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    save_networks(path, trained("espcn"))
    tensors, meta = read_safetensors(path)
    places = tensors["update.1.places"]
    harmed = {
        "falls": places.flip(0),
        "is beyond": torch.cat([places[:-1], torch.tensor([10**6])]),
        "is short": places[1:],
        "is of another type": places.float(),
        "is negative": torch.cat([torch.tensor([-1]), places[1:]]),
    }
    for wrong in harmed.values():
        write_safetensors(path, tensors | {"update.1.places": wrong}, meta)
        with pytest.raises(UserError, match="its base and updates do not fit"):
            load_weights(path)
