"""The exported architecture against PyTorch, in a runtime that the client does not use."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_package import VARIANTS, disturbed, graph_of

from stdo.encoder.graph import OPSET, export_graph
from stdo.models.registry import build


def in_onnxruntime(graph: bytes, network: torch.nn.Module, lr_NCHW: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options)
    shapes = {each.name: each.shape for each in session.get_inputs()}
    state = network.state_dict().items()
    weights = {name: tensor.numpy().reshape(shapes[name]) for name, tensor in state}
    return session.run(["sr"], {"lr": lr_NCHW} | weights)[0]


@pytest.mark.parametrize(
    ("name", "scale", "residual"),
    [("espcn", 2, "none"), ("espcn", 4, "none"), ("espcn", 4, "bicubic")],
)
def test_the_graph_computes_what_the_network_does_at_any_size(
    name: str, scale: int, residual: str
) -> None:
    network, rng = disturbed(name, scale, residual=residual), np.random.default_rng(0)
    for shape in ((1, 3, 9, 7), (3, 3, 24, 20)):
        lr_NCHW = rng.random(shape, np.float32)
        sr_NCHW = in_onnxruntime(graph_of(name, scale, residual), network, lr_NCHW)
        with torch.inference_mode():
            expected = network(torch.from_numpy(lr_NCHW)).numpy()
        assert sr_NCHW.shape == expected.shape
        np.testing.assert_allclose(sr_NCHW, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("name", "residual"), VARIANTS)
def test_every_backbone_exports_at_every_scale(name: str, residual: str, scale: int) -> None:
    network = disturbed(name, scale, residual=residual)
    lr_NCHW = np.random.default_rng(0).random((2, 3, 14, 11), np.float32)
    sr_NCHW = in_onnxruntime(graph_of(name, scale, residual), network, lr_NCHW)
    with torch.inference_mode():
        np.testing.assert_allclose(
            sr_NCHW, network(torch.from_numpy(lr_NCHW)).numpy(), atol=5e-5, rtol=1e-3
        )


def test_weights_are_inputs_by_the_names_of_the_state_dict_and_none_is_left_inside() -> None:
    model = onnx.load_from_string(graph_of("espcn", 2))
    named = {
        each.name: tuple(d.dim_value for d in each.type.tensor_type.shape.dim)
        for each in model.graph.input
    }
    named.pop("lr")
    assert named == {
        name: tuple(tensor.shape) for name, tensor in build("espcn", 2).state_dict().items()
    }
    assert all(np.prod(tensor.dims) < 100 for tensor in model.graph.initializer)
    assert [entry.version for entry in model.opset_import] == [OPSET]
    assert len(graph_of("espcn", 2)) < 4096


def test_it_does_not_depend_on_the_weights_and_leaves_the_network_alone() -> None:
    network = disturbed("espcn", 2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert export_graph(network) == graph_of("espcn", 2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
