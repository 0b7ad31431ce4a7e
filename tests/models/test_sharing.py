"""Sharing: the two questions agree, whichever backbone and however the batch is ordered."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf

from stdo.config.trust import conf_dir
from stdo.core.types import SCALES, UserError
from stdo.models.registry import BACKBONES, build
from stdo.models.sharing import Independent, Sharing, Single
from stdo.models.weights import load_networks, read_safetensors, save_networks, started

CHUNKS = 3
SHARINGS = {
    file.stem: get_object(OmegaConf.load(file)._target_)
    for file in sorted((conf_dir() / "sharing").glob("*.yaml"))
}


def make(
    kind: str, name: str = "espcn", scale: int = 2, init: str = "paper", seed: int = 5
) -> Sharing:
    sharing = SHARINGS[kind](partial(build, name, scale, init=init), CHUNKS, seed)
    with torch.no_grad():  # as if trained: at first these are 0
        for key, parameter in sharing.named_parameters():
            if key == "gain" or key.endswith(".left"):
                parameter.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(seed))
    return sharing


def batch(n: int = 5) -> torch.Tensor:
    return torch.rand(n, 3, 7, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("kind", SHARINGS)
def test_network_reproduces_forward(kind: str, name: str, scale: int) -> None:
    sharing = make(kind, name, scale)
    chunk = torch.tensor([0, 0, 1, 2, 2])
    with torch.no_grad():
        together = sharing(batch(), chunk)
        for i, k in enumerate(chunk.tolist()):
            alone = sharing.network(k)(batch()[i : i + 1])
            torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", SHARINGS)
@pytest.mark.parametrize("order", [[2, 0, 1, 0, 2], [1], [2, 2, 2], [0, 2], [2, 1, 0]])
def test_any_order_of_chunks(kind: str, order: list[int]) -> None:
    sharing = make(kind)
    lr = batch(len(order))
    with torch.no_grad():
        got = sharing(lr, torch.tensor(order))
        expected = torch.cat([sharing.network(k)(lr[i : i + 1]) for i, k in enumerate(order)])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_independent_equals_networks_built_alone(name: str) -> None:
    together = Independent(partial(build, name, 2), CHUNKS, seed=5)
    for k in range(CHUNKS):
        torch.manual_seed(5 + k)
        alone = build(name, 2)
        for (key, p), (_, q) in zip(
            alone.named_parameters(), together.backbones[k].named_parameters(), strict=True
        ):
            assert torch.equal(p, q), key


def test_independent_trained_together_equals_trained_alone() -> None:
    """Gradients of the summed losses are those of separate runs, so Adam's steps are too."""
    together = make("independent")
    lr, hr = batch(6), torch.rand(6, 3, 14, 12)
    chunk = torch.tensor([0, 0, 1, 1, 2, 2])

    def fit(net: torch.nn.Module, step) -> None:
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(3):
            optimizer.zero_grad()
            step().backward()
            optimizer.step()

    def loss_together() -> torch.Tensor:
        sr = together(lr, chunk)
        return sum((sr[chunk == k] - hr[chunk == k]).abs().mean() for k in range(CHUNKS))

    fit(together, loss_together)
    for k in range(CHUNKS):
        torch.manual_seed(5 + k)
        alone = build("espcn", 2, init="paper")
        fit(alone, lambda k=k, alone=alone: (alone(lr[chunk == k]) - hr[chunk == k]).abs().mean())
        for p, q in zip(alone.parameters(), together.backbones[k].parameters(), strict=True):
            torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("kind", SHARINGS)
def test_every_network_may_begin_as_a_copy_of_one(kind: str, name: str) -> None:
    """As the second phase of a fit makes them: of the parameters themselves, with weight norm."""
    first = make("single", name)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.01)

    def copy() -> torch.nn.Module:
        backbone = build(name, 2)
        backbone.load_state_dict(first.backbone.state_dict())
        return backbone

    sharing = SHARINGS[kind](copy, CHUNKS)
    for chunk in range(CHUNKS):
        torch.testing.assert_close(
            sharing.network(chunk)(batch()), first.network(0)(batch()), rtol=1e-4, atol=1e-5
        )
    with torch.no_grad():  # copies, that go ways of their own
        for parameter in sharing.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    assert torch.equal(sharing.network(1)(batch()), sharing.network(0)(batch())) == (
        sharing.networks == 1 or kind == "chain"  # whose updates, the difference, are none yet
    )


@pytest.mark.parametrize("residual", ["none", "bicubic"])
@pytest.mark.parametrize("name", ["espcn", "wdsr", "edsr"])
def test_networks_may_start_from_general_weights(name: str, residual: str, tmp_path: Path) -> None:
    factory = partial(build, name, 2, init="paper", residual=residual)
    general = Single(factory, 4, seed=7)
    path = tmp_path / "general.safetensors"
    save_networks(path, general)
    sharing = Independent(partial(started, factory, path), CHUNKS, seed=1)
    for chunk in range(CHUNKS):
        torch.testing.assert_close(
            sharing.network(chunk)(batch()), general.network(0)(batch()), atol=1e-5, rtol=0
        )
    assert all(parameter.requires_grad for parameter in sharing.parameters())


def test_general_weights_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "general.safetensors"

    def refused(sharing: Sharing, **options) -> str:
        save_networks(path, sharing)
        with pytest.raises(UserError) as caught:
            started(partial(build, **{"name": "espcn", "scale": 2} | options), path)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(f"weights={path}: ")

    assert (
        refused(make("independent")) == "holds 3 x espcn at scale 2; one espcn at scale 2 is needed"
    )
    assert (
        refused(make("single", scale=4))
        == "holds 1 x espcn at scale 4; one espcn at scale 2 is needed"
    )
    assert (
        refused(make("single"), name="wdsr")
        == "holds 1 x espcn at scale 2; one wdsr at scale 2 is needed"
    )
    said = refused(make("single"), residual="bicubic")
    assert said == "was trained with backbone.residual=none; bicubic is asked for"
    with pytest.raises(UserError, match="no such weights file"):
        started(partial(build, "espcn", 2), tmp_path / "none.safetensors")


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    for kind in SHARINGS:
        make(kind)
    assert torch.equal(torch.rand(3), expected)


def test_networks_and_params() -> None:
    labels = np.array([[2, 0], [1, 1]], np.int16)
    single, independent = make("single", "wdsr"), make("independent", "wdsr")
    assert single.networks == 1
    assert independent.networks == CHUNKS
    np.testing.assert_array_equal(single.network_of(labels), np.zeros((2, 2)))
    np.testing.assert_array_equal(independent.network_of(labels), labels)
    assert independent.network_of(labels).dtype == single.network_of(labels).dtype == np.int64
    plain_wdsr = (
        896 + 16 * (32 * 128 * 9 * 2 + 128 + 32) + 33 * 0 + (32 * 9 + 1) * 12 + (75 + 1) * 12
    )
    assert single.params == plain_wdsr
    assert independent.params == CHUNKS * plain_wdsr


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("kind", SHARINGS)
def test_weights_survive_the_disk(kind: str, name: str, tmp_path: Path) -> None:
    sharing = make(kind, name)
    path = tmp_path / "weights.safetensors"
    save_networks(path, sharing, {"method": "stdo"})
    networks, meta = load_networks(path)
    settings = json.dumps(build(name, 2).settings)
    known = {
        "backbone": name,
        "scale": "2",
        "networks": str(sharing.networks),
        "settings": settings,
    }
    assert meta == known | {"method": "stdo", "residual": BACKBONES[name].RESIDUALS[0]}
    assert len(networks) == sharing.networks
    for chunk, number in enumerate(sharing.network_of(np.arange(CHUNKS))):
        assert torch.equal(networks[number](batch()), sharing.network(chunk)(batch()))
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"], (
        "a temporary file was left"
    )


@pytest.mark.parametrize("name", ["espcn", "vdsr"])
def test_what_networks_predict_is_kept_with_them_and_once_was_not(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_networks(path, Single(partial(build, name, 2, init="paper", residual="bicubic"), 1))
    (network,), meta = load_networks(path)
    with safetensors.safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    older = {key: value for key, value in meta.items() if key not in ("residual", "settings")}
    safetensors.torch.save_file(tensors, path, older)
    (published,), _ = load_networks(path)
    assert (network.residual, published.residual) == (
        "bicubic",
        "bicubic" if name == "vdsr" else "none",
    )
    assert torch.equal(network(batch()), published(batch())) == (name == "vdsr")


def test_settings_are_kept_with_the_networks_and_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    small = partial(build, "ecbsr", 2, negative_slope=0.2, depth=2, channels=8)
    save_networks(path, Single(small, 1))
    (network,), meta = load_networks(path)
    assert network.settings == {"negative_slope": 0.2, "depth": 2, "channels": 8}
    assert torch.equal(started(small, path)(batch()), network(batch()))
    with pytest.raises(UserError, match=r"was trained with backbone\.channels=8; 16 is asked for$"):
        started(partial(build, "ecbsr", 2, negative_slope=0.2, depth=2), path)
    tensors, _ = read_safetensors(path)
    deep = "[" * 100_000
    for wrong in (
        "[1]",
        "{",
        '{"scale": 3}',
        '{"depth": "2"}',
        '{"depth": true}',
        '{"width": 2}',
        "null",
        deep,
    ):
        safetensors.torch.save_file(tensors, path, meta | {"settings": wrong})
        with pytest.raises(UserError, match=r"settings=.* of its networks are none of 'ecbsr'$"):
            load_networks(path)
    safetensors.torch.save_file(tensors, path, meta | {"settings": '{"depth": 10000000}'})
    with pytest.raises(UserError, match=r"^backbone.depth=10000000: must be one of"):
        load_networks(path)


@pytest.mark.parametrize("kind", SHARINGS)
def test_the_last_chunks_may_have_no_network(kind: str, tmp_path: Path) -> None:
    sharing = SHARINGS[kind](partial(build, "espcn", 2, init="paper"), 4, 5, bicubic_chunks=2)
    labels = np.array([[3, 0], [1, 2]], np.int16)
    one_each, one = np.array([[-1, 0], [1, -1]]), np.array([[-1, 0], [0, -1]])
    assert {sharing.networks, sharing.learners} <= {1, 2} and sharing.learners <= sharing.networks
    np.testing.assert_array_equal(
        sharing.network_of(labels), one if sharing.networks == 1 else one_each
    )
    np.testing.assert_array_equal(
        sharing.learner_of(labels), one if sharing.learners == 1 else one_each
    )
    two = SHARINGS[kind](partial(build, "espcn", 2, init="paper"), 2, 5)
    assert sharing.params == two.params
    for chunk in (0, 1):  # the others' networks are what they are without the two
        assert torch.equal(sharing.network(chunk)(batch()), two.network(chunk)(batch()))
    with pytest.raises((AssertionError, IndexError)):
        sharing.network(2)
    save_networks(tmp_path / "weights.safetensors", sharing)
    assert len(load_networks(tmp_path / "weights.safetensors")[0]) == sharing.networks
    with pytest.raises(AssertionError):
        SHARINGS[kind](partial(build, "espcn", 2), 2, bicubic_chunks=2)


def test_damaged_weights_are_the_users_problem_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(UserError, match="no such weights file"):
        load_networks(path)
    save_networks(path, make("independent"))
    whole = path.read_bytes()
    for cut in (0, 7, 200, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match="damaged or not a safetensors file") as caught:
            load_networks(path)
        assert "\n" not in str(caught.value)
    tensors = safetensors.torch.load(whole)
    meta = {"backbone": "espcn", "scale": "2", "networks": "3"}

    def rewritten(change: dict[str, torch.Tensor], meta: dict[str, str]) -> None:
        safetensors.torch.save_file({**tensors, **change}, path, meta)
        load_networks(path)

    with pytest.raises(
        UserError, match=r"first\.weight has shape \(2, 2\); espcn at scale 2 needs \(64, 3, 3, 3\)"
    ):
        rewritten({"network.1.first.weight": torch.zeros(2, 2)}, meta)
    with pytest.raises(UserError, match=r"lacks first\.weight"):
        rewritten({}, {**meta, "networks": "4"})
    with pytest.raises(UserError, match="belong to none of its 2 networks"):
        rewritten({}, {**meta, "networks": "2"})
    with pytest.raises(UserError, match="backbone=unet"):
        rewritten({}, {**meta, "backbone": "unet"})
    with pytest.raises(UserError, match="not a weights file of stdo"):
        rewritten({}, {"scale": "2"})


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.safetensors"
    save_networks(path, make("single"), {"run": "old"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="the disk is full"):
        save_networks(path, make("single"), {"run": "new"})
    assert load_networks(path)[1]["run"] == "old"
