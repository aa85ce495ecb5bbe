"""ONNX files: a `Graph` as an ONNX model, its weights in fewer bits, and running it by onnxruntime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calotype.errors import CalotypeError, UserError, printable
from calotype.shipping.graph import Graph, heard, symbols

Precision = Literal["float32", "float16", "int8"]
"""Of the weights in the file; what is computed with them is computed in float32."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 20  # of the operators: onnxruntime 1.17 (2024) and later know it
LARGEST = 2_000_000_000  # bytes of the weights that one ONNX file holds
SIDES = ("height", "width")
MULTIPLES = (1, 2, 4, 8, 16)  # of height and width that are tried
FEW = 256  # numbers of a tensor that are not worth fewer bits
_AXES = {"Conv": 0, "Gemm": 0, "Gather": 0, "MatMul": 1, "ConvTranspose": 1}  # of the weights of an output, by operator


def require_packages() -> None:
    """Raise `UserError` where what writes and runs ONNX files is not installed."""
    if lacking := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f"exporting to ONNX needs {' and '.join(lacking)}: pip install {' '.join(PACKAGES)}")


def traced(
    module: nn.Module, given: Sequence[Tensor | None], sizes: Sequence[Sequence[str | None]], multiple: int = 1
) -> torch.export.ExportedProgram:
    """A function of tensors as a graph, whatever its batch and the other sizes that have names.

    Args:
        module: The function.
        given: An example of what it takes.
        sizes: For each tensor the names of its sizes, None for those that are always what they are in the example.
        multiple: Of what the sizes other than the first are multiples.

    Raises:
        CalotypeError: where it branches on values, so that no graph can be made of it.
    """
    names = {name for one in sizes for name in one if name}
    dims: dict[str, Any] = {name: torch.export.Dim(name, min=1, max=65_536) for name in names}
    if multiple > 1:
        dims = {name: multiple * torch.export.Dim(f"{name}_parts", min=1, max=65_536) if name in SIDES else dims[name] for name in names}
    shapes = tuple(
        None if tensor is None else {axis: dims[name] for axis, name in enumerate(one) if name}
        for tensor, one in zip(given, sizes, strict=True)
    )
    dynamic = (shapes,) if _takes_all(module) else shapes
    try:
        with _silent(), torch.no_grad():
            return torch.export.export(module, tuple(given), dynamic_shapes=dynamic, strict=False)
    except Exception as error:  # whatever the tracer raises
        raise CalotypeError(f"torch.export cannot make a graph of this model ({_first_line(error)})") from None


def _takes_all(module: nn.Module) -> bool:
    """Whether it takes its tensors by one starred argument."""
    return module.forward.__code__.co_flags & 0x04 != 0  # CO_VARARGS


def program_of(graph: Graph, least: int = 1) -> tuple[torch.export.ExportedProgram, int]:
    """All of a graph as PyTorch's own format holds it (networks that are called often stand there once for each call).

    Returns:
        It, and the smallest power of two, not below ``least``, of which height and width have to be multiples where they are the caller's
        choice.
    """
    # numbers that no other size of the model has, because the tracer takes equal ones for the same
    given = graph.example(3, 0, size=(48, 80))
    sizes = [["batch", *(side if isinstance(side, str) else None for side in one.shape)] for one in graph.inputs]
    if not any(side in SIDES for one in sizes for side in one):
        return traced(graph.module, given, sizes), 1
    for multiple in (one for one in MULTIPLES[:-1] if one >= least):
        with contextlib.suppress(CalotypeError):
            return traced(graph.module, given, sizes, multiple), multiple
    return traced(graph.module, given, sizes, MULTIPLES[-1]), MULTIPLES[-1]


def onnx_of(graph: Graph, least: int = 1) -> tuple[Any, int]:
    """A graph as an ``onnx_ir.Model`` in float32, without metadata, and the multiple as in `program_of`.

    Raises:
        CalotypeError: where the model, or an operator of it, cannot be written as ONNX.
    """
    with symbols(graph):
        program, multiple = program_of(graph, least)
        model = _converted(program, [one.name for one in graph.inputs], [graph.output])
    for name in graph.often:
        if (found := heard(graph, name)) is not None:
            network, arguments = found
            rows = [None if one is None else torch.cat([one, one[:1]]) for one in arguments]  # not as many as anything else
            inner = traced(network, rows, [["rows"] if one is not None else [] for one in arguments])
            _inline(model, name, _converted(inner, None, None))
    return model, multiple


def _converted(program: torch.export.ExportedProgram, inputs: list[str] | None, outputs: list[str] | None) -> Any:
    try:
        with _silent(), torch.no_grad():
            made = torch.onnx.export(
                program, (), dynamo=True, verbose=False, opset_version=OPSET, input_names=inputs, output_names=outputs, optimize=True
            )
            assert made is not None
            _pad_weights(made.model)
            return made.model
    except Exception as error:  # whatever the converter raises
        raise CalotypeError(f"this model cannot be written as ONNX ({_first_line(error)})") from None


def _pad_weights(model: Any) -> None:
    """Pad the weights that a graph would pad at every call, in place: onnxruntime takes the padding for one of images, and refuses."""
    ir, graph = import_module("onnx_ir"), model.graph
    for node in [one for one in graph if one.op_type == "Pad"]:
        weight, sides = (ir.convenience.get_const_tensor(value) for value in node.inputs[:2])
        if weight is None or sides is None or (sides.numpy() < 0).any():  # images, or weights that are cut
            continue
        if len(node.inputs) > 3 or node.attributes.get_string("mode", "constant") != "constant" or not _with_zeros(ir, node):
            continue
        before, after = sides.numpy().reshape(2, -1)
        padded = _constant(ir, graph, f"{node.outputs[0].name}.padded", np.pad(weight.numpy(), list(zip(before, after, strict=True))))
        ir.convenience.replace_all_uses_with(node.outputs[0], padded)
        old = node.inputs[0]
        graph.remove(node, safe=True)
        if not old.uses() and old.name in graph.initializers:
            del graph.initializers[old.name]


def _with_zeros(ir: Any, node: Any) -> bool:
    """Whether a node pads with zeros for certain: what it pads with may be computed."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return True
    fill = ir.convenience.get_const_tensor(node.inputs[2])
    return fill is not None and not fill.numpy().any()


def _inline(model: Any, name: str, inner: Any) -> None:
    """Put a copy of a network into the place of each node that calls it; its weights are there once."""
    ir = import_module("onnx_ir")
    graph, weights = model.graph, {}
    for key, value in inner.graph.initializers.items():
        copied = ir.Value(name=f"{name}.{key}", shape=value.shape, type=value.type, const_value=value.const_value)
        graph.register_initializer(copied)
        weights[value] = copied
    for number, call in enumerate([node for node in graph if node.domain == "calotype" and node.op_type == name]):
        places = {**weights, **dict(zip(inner.graph.inputs, [one for one in call.inputs if one is not None], strict=True))}
        copies = []
        for node in inner.graph:
            taken = [None if one is None else places[one] for one in node.inputs]
            copy = ir.Node(node.domain, node.op_type, taken, tuple(node.attributes.values()), num_outputs=len(node.outputs))
            for old, new in zip(node.outputs, copy.outputs, strict=True):
                new.name, new.type = f"{name}.{number}.{len(places)}", old.type  # no shape: not every call has as many rows
                places[old] = new
            copies.append(copy)
        graph.insert_before(call, copies)
        ir.convenience.replace_all_uses_with(call.outputs[0], places[inner.graph.outputs[0]], replace_graph_outputs=True)
        graph.remove(call, safe=True)
    for domain, version in inner.graph.opset_imports.items():
        graph.opset_imports.setdefault(domain, version)
    graph.opset_imports.pop("calotype", None)


def lessen(model: Any, precision: Precision) -> int:
    """Keep the weights of a model in fewer bits, in place; returns how many tensors became so.

    float16 rounds them. int8 is symmetric with a scale for each output channel (Krishnamoorthi 2018, section 3.1.1: weights alone). Both
    are brought back to float32 by the first nodes of the graph, which runtimes do once.
    """
    if precision == "float32":
        return 0
    ir = import_module("onnx_ir")
    graph, done = model.graph, 0
    for name, value in list(graph.initializers.items()):
        if value.const_value is None or value.dtype != ir.DataType.FLOAT:
            continue
        numbers = value.const_value.numpy()
        users = {user.node.op_type if hasattr(user, "node") else user[0].op_type for user in value.uses()}
        if numbers.ndim < 2 or numbers.size < FEW or not users <= set(_AXES):
            continue
        if precision == "float16":
            small = _constant(ir, graph, f"{name}.float16", numbers.astype(np.float16))
            node = ir.Node("", "Cast", [small], (ir.AttrInt64("to", ir.DataType.FLOAT.value),))
        elif len(axes := {_AXES[user] for user in users}) > 1:
            continue
        else:
            axis = axes.pop()
            whole, scale = quantized(numbers, axis)
            small, step = _constant(ir, graph, f"{name}.int8", whole), _constant(ir, graph, f"{name}.scale", scale)
            node = ir.Node("", "DequantizeLinear", [small, step], (ir.AttrInt64("axis", axis),))
        back = node.outputs[0]
        back.name, back.shape, back.type = f"{name}.float32", value.shape, value.type
        graph.insert_before(graph[0], [node])
        ir.convenience.replace_all_uses_with(value, back)
        del graph.initializers[name]
        done += 1
    return done


def quantized(numbers: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights as whole numbers from -127 to 127 and a scale for each place along ``axis``, whose product is nearest to them."""
    others = tuple(k for k in range(numbers.ndim) if k != axis)
    scale = np.abs(numbers).max(others) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    spread = scale.reshape([-1 if k == axis else 1 for k in range(numbers.ndim)])
    return np.rint(numbers / spread).clip(-127, 127).astype(np.int8), scale


def _constant(ir: Any, graph: Any, name: str, numbers: NDArray[Any]) -> Any:
    value = ir.Value(name=name, const_value=ir.tensor(numbers, name=name))
    value.shape, value.type = value.const_value.shape, ir.TensorType(value.const_value.dtype)
    graph.register_initializer(value)
    return value


def packed(model: Any, facts: Mapping[str, str]) -> bytes:
    """The content of the file of a model, with ``facts`` as its metadata.

    Raises:
        UserError: for more than one file holds.
    """
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    if size > LARGEST:
        raise UserError(f"an ONNX file holds weights of {LARGEST / 1e9:.0f} GB at most, not {size / 1e9:.1f}: `format=torch-export`")
    ir = import_module("onnx_ir")
    for node in model.graph:
        node.metadata_props.clear()  # where in the source each node comes from, which is nobody's concern
        node.doc_string = None
    model.metadata_props.clear()
    model.metadata_props.update(facts)
    model.producer_name, model.doc_string = "calotype", None
    content: bytes = ir.to_proto(model).SerializeToString()
    return content


class Session:
    """An ONNX file that onnxruntime runs on the processor, with as many threads as PyTorch uses."""

    def __init__(self, content: bytes) -> None:
        runtime = import_module("onnxruntime")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads, settings.log_severity_level = torch.get_num_threads(), 1, 4
        try:
            self._session = runtime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # whatever the runtime raises
            raise CalotypeError(f"onnxruntime does not take the exported model ({_first_line(error)})") from None

    def __call__(self, given: Sequence[Tensor]) -> NDArray[np.float32]:
        """What it makes of tensors."""
        names = [one.name for one in self._session.get_inputs()]
        try:
            made: NDArray[np.float32] = self._session.run(None, dict(zip(names, [one.numpy() for one in given], strict=True)))[0]
        except Exception as error:
            raise CalotypeError(f"onnxruntime cannot run the exported model ({_first_line(error)})") from None
        return made


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    said = next((line for line in str(cause).splitlines() if line.strip()), "")
    return printable(f"{type(cause).__name__}: {said.strip()}")[:200]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing on the streams of what exporters say of themselves."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
