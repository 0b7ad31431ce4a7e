"""Export a backbone as ONNX, with its weights inside, or outside for a package."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import torch

from stdo.core.types import UserError
from stdo.models.common import Backbone, plain

OPSET = 18
"""The oldest set of operators that PyTorch exports to without a conversion; every current runtime
knows it."""

INPUT, OUTPUT = "lr", "sr"


def export_graph(network: Backbone, size: tuple[int, int] | None = None) -> bytes:
    """The architecture of ``network`` as an ONNX model without weights.

    Inputs: ``lr`` (batch, 3, height, width) float32 in [0, 1], all sizes free, and one for each
        entry of the plain network's ``state_dict``, by that name; the slopes (channels,) of a PRelu
        are (1, channels, 1, 1) here. Output: ``sr`` (batch, 3, scale·height, scale·width), not
        clamped.
    size: fixes height and width, and the batch at 1.

    Raises UserError for a network of a plugin that has parameters without effect, or that the
        exporter folds.
    """
    network = plain(network).cpu()
    names = [name for name, _ in network.named_parameters()]
    filled = _filled(network)
    model = _exported(filled, size)
    _keep_slopes(model, names, filled)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    lost = sorted(set(names) - set(tensors))
    if lost:
        raise UserError(
            f"{lost[0]} is no part of its ONNX graph: it does not change the picture, or the "
            "exporter folded it into another tensor"
        )
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in names]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for name in names:
        shape = list(tensors[name].dims)
        model.graph.input.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        )
    _strip(model)
    return _bytes(model)


def with_weights(graph: bytes, network: Backbone) -> bytes:
    """What `export_graph` made, with the weights of a plain network inside: ``lr`` is its only
    input."""
    model = onnx.load_from_string(graph)
    state = network.state_dict()
    lr = [each for each in model.graph.input if each.name == INPUT]
    graph_inputs = [each for each in model.graph.input if each.name != INPUT]
    del model.graph.input[:]
    model.graph.input.extend(lr)
    for each in graph_inputs:
        shape = [side.dim_value for side in each.type.tensor_type.shape.dim]
        tensor = onnx.numpy_helper.from_array(state[each.name].numpy().reshape(shape), each.name)
        model.graph.initializer.append(tensor)
    return _bytes(model)


def _keep_slopes(model: onnx.ModelProto, names: list[str], network: Backbone) -> None:
    """Name the slopes of each PRelu as the network does: the exporter gives them the shape of a
    picture, and a number.

    Args:
        network: As it was exported, so that its content tells which are whose.
    """
    lost = set(names) - {tensor.name for tensor in model.graph.initializer}
    state = network.state_dict()
    for tensor in model.graph.initializer:
        content = onnx.numpy_helper.to_array(tensor).ravel()
        for name in lost:
            if np.array_equal(content, state[name].numpy().ravel()):
                _rename(model, tensor.name, name)
                tensor.name = name


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for at, name in enumerate(node.input):
            if name == old:
                node.input[at] = new


def _filled(network: Backbone) -> Backbone:
    """A copy with random weights, since the exporter leaves out what is zero or equal to another
    tensor."""
    filled = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    for parameter in filled.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return filled


def _exported(network: Backbone, size: tuple[int, int] | None) -> onnx.ModelProto:
    free = {
        0: torch.export.Dim("batch"),
        2: torch.export.Dim("height"),
        3: torch.export.Dim("width"),
    }
    shape = (1, 3, *size) if size else (2, 3, 20, 24)
    with quiet():
        program = torch.onnx.export(
            network,
            (torch.rand(shape),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=None if size else (free,),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def _strip(model: onnx.ModelProto) -> None:
    """Take out what only the exporter's authors read: source lines, intermediate shapes."""
    model.graph.ClearField("value_info")
    model.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    for named in (*model.graph.node, *model.graph.input, *model.graph.output):
        named.ClearField("metadata_props")
    for node in model.graph.node:
        node.ClearField("doc_string")


def _bytes(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


@contextmanager
def quiet() -> Iterator[None]:
    """Without a converter's remarks on packages that we do not use and on its own future."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
