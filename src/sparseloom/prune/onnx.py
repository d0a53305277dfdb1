"""An ONNX file as layers: its graph says which operators multiply, and onnxruntime gives the tensors that they read."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import checker, external_data_helper, helper, inliner, numpy_helper

from sparseloom.errors import Fault, InputError, suggest
from sparseloom.prune.operation import Call, Operation, Shape, Unsupported, operations
from sparseloom.prune.weight import Weight

Array = NDArray[Any]

See = Callable[[str, Operation], None]
"""Told the name of a layer, and the operation with its tensors."""


class Input(NamedTuple):
    """What the model takes: of ranks whose size is open, ``shape`` has the name."""

    name: str
    shape: tuple[int | str, ...]
    dtype: np.dtype[Any]


class OnnxModel:
    """A model of an ONNX file, made ready to be run on the CPU while its layers are seen. Local functions count as what they do.

    ``way`` says how it was read; ``unsupported`` are the operators seen so far that may multiply tensors but are no layers, and
    how often they stand in the graph. A file is data: nothing in it is executed but operators of ONNX and of onnxruntime, and
    tensors outside of it must lie in its folder.

    Raises InputError for a file that is missing, cut off or not valid ONNX, and for operators that onnxruntime does not know.

    Source: ONNX operator specification, opsets 13 to 22.
    """

    way: Final = "onnx"
    reason: Final = ""

    def __init__(self, path: Path) -> None:
        self._path = path
        model = _read(path)
        graph = model.graph
        origins = _origins(graph)
        self._layers = _layers(graph, origins)
        self._others = _others(graph, origins)
        self.unsupported = Counter(self._others)
        held = {tensor.name: tensor for tensor in graph.initializer}
        read = dict.fromkeys(name for layer in self._layers for name in layer.reads)
        with _explained("the model's inputs and weights cannot be read", path, _AGAIN):
            self.inputs = tuple(_input(value) for value in graph.input if value.name not in held)
            self._held = {name: numpy_helper.to_array(held[name]) for name in read if name in held}
        fed = {each.name for each in self.inputs}
        self._shown = [name for name in read if name not in held and name not in fed]
        self._session = _session(model, self._shown, path)

    def run(self, inputs: Any, see: See) -> None:
        """Run the model on one sample (an array, or a tuple or mapping of several), showing each layer in the order of the graph.

        Raises InputError for inputs that do not fit the model, and for what onnxruntime cannot run on them."""
        self.unsupported = Counter(self._others)
        feeds = _feeds(self.inputs, inputs)
        with _explained("onnxruntime cannot run the model on the data", self._path, "give data that fit the model"):
            # without names it gives the model's own outputs
            shown = self._session.run(self._shown or None, feeds)
        values = {**self._held, **feeds, **dict(zip(self._shown, shown, strict=False)), "": None}
        for layer in self._layers:
            try:
                found = layer.operations(values)
            except Unsupported as why:
                self.unsupported[str(why)] += 1
                continue
            for operation in found:
                see(layer.name, operation)


@dataclass(frozen=True)
class _Layer:
    """A node that multiplies: the names of its operands ("" for one left out), which of them are known before the inference,
    and the constant that the next node adds ("" if none)."""

    name: str
    operator: str
    attributes: Mapping[str, Any]
    operands: tuple[str, ...]
    constant: tuple[bool, ...]
    added: str

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(name for name in (*self.operands, self.added) if name)

    def operations(self, values: Mapping[str, Array | None]) -> list[Operation]:
        tensors = [values[name] for name in self.operands]
        if any(tensor is not None and tensor.size == 0 for tensor in tensors):
            raise Unsupported(f"{self.operator} of an empty tensor")
        return _RULES[self.operator](self, tensors, values[self.added])


def _convolution(layer: _Layer, tensors: list[Array | None], added: Array | None) -> list[Operation]:
    """A network file pads both ends of a side alike: what one end has more of becomes zeros of the input itself, which count
    among its points."""
    source, weight, given, *_ = *tensors, None
    assert source is not None
    assert weight is not None
    sides = weight.ndim - 2
    stride, dilation = (layer.attributes.get(name, [1] * sides) for name in ("strides", "dilations"))
    before, after = _pads(layer.attributes, source.shape[2:], weight.shape[2:], stride)
    both = [min(ends) for ends in zip(before, after, strict=True)]
    more = [(first - least, last - least) for first, last, least in zip(before, after, both, strict=True)]
    if before != after:
        source = np.pad(source, [(0, 0), (0, 0), *more])
    bias = given if given is not None else _bias(added, weight.shape[0], -1 - sides)
    call = {"input": source, "weight": weight, "bias": bias, "stride": stride, "padding": both, "dilation": dilation}
    return operations("convolution", Call({**call, "groups": layer.attributes.get("group", 1)}))


def _pads(attributes: Mapping[str, Any], image: Shape, window: Shape, stride: list[int]) -> tuple[list[int], list[int]]:
    """Zeros before and after each side. SAME gives ceil(input / stride) outputs, of windows that are not dilated; of an odd
    number of zeros, UPPER puts one more after, LOWER one more before."""
    way = attributes.get("auto_pad", b"NOTSET").decode()
    if not way.startswith("SAME"):  # VALID has no pads
        pads = list(attributes.get("pads", [0] * 2 * len(window)))
        return pads[: len(window)], pads[len(window) :]
    total = [
        max((-(-size // step) - 1) * step + far - size, 0)
        for size, step, far in zip(image, stride, window, strict=True)
    ]
    less, more = [number // 2 for number in total], [number - number // 2 for number in total]
    return (less, more) if way == "SAME_UPPER" else (more, less)


def _gemm(layer: _Layer, tensors: list[Array | None], added: Array | None) -> list[Operation]:
    """alpha * A * B + beta * C; C is a bias if it is a constant with one number for each output."""
    left, right, term, *_ = *tensors, None
    assert left is not None
    assert right is not None
    left = left.T if layer.attributes.get("transA", 0) else left
    right = right.T if layer.attributes.get("transB", 0) else right
    if term is not None:
        added = term if layer.constant[2] and layer.attributes.get("beta", 1.0) else None
    return _times(left, right, layer.constant, added)


def _matmul(layer: _Layer, tensors: list[Array | None], added: Array | None) -> list[Operation]:
    left, right = tensors
    assert left is not None
    assert right is not None
    return _times(left, right, layer.constant, added)


def _times(left: Array, right: Array, constant: tuple[bool, ...], added: Array | None) -> list[Operation]:
    """left * right: a constant matrix is the weights of a linear layer, as outputs x inputs; from the left, of the product
    transposed."""
    if constant[1] and right.ndim == 2:
        return _linear(left, right.T, _bias(added, right.shape[1], -1))
    if constant[0] and left.ndim == 2:
        source = right if right.ndim == 1 else right.swapaxes(-1, -2)
        return _linear(source, left, _bias(added, left.shape[0], -1 if right.ndim == 1 else -2))
    return operations("matmul", Call({"input": left, "other": right}))


def _linear(source: Array, weight: Array, bias: Array | None) -> list[Operation]:
    return operations("linear", Call({"input": source, "weight": weight, "bias": bias}, lambda value: value is weight))


def _einsum(layer: _Layer, tensors: list[Array | None], added: Array | None) -> list[Operation]:
    """Weights come second, as in PyTorch's models."""
    equation = layer.attributes["equation"].decode().replace(" ", "")
    operands, constant = list(tensors), layer.constant
    if len(operands) == 1:
        return []  # nothing is multiplied
    if len(operands) == 2 and constant[0]:
        inputs, arrow, output = equation.partition("->")
        equation, operands = ",".join(reversed(inputs.split(","))) + arrow + output, operands[::-1]
    if _broadcast(equation, operands):
        raise Unsupported(f"einsum '{equation}' with broadcasting")
    weight = operands[1] if any(constant) else None
    return operations("einsum", Call({"equation": equation, "operands": operands}, lambda value: value is weight))


def _broadcast(equation: str, operands: list[Array | None]) -> bool:
    """Some rank has two sizes, of which one is 1."""
    sizes = defaultdict[str, set[int]](set)
    for name, operand in zip(equation.partition("->")[0].split(","), operands, strict=True):
        for rank, size in zip(name, operand.shape if operand is not None else (), strict=False):
            sizes[rank].add(size)
    return "..." not in equation and any(len(found) > 1 for found in sizes.values())


def _bias(added: Array | None, outputs: int, axis: int) -> Array | None:
    """What is added, if it is one number for each output, along their ``axis``."""
    if added is None or added.size != outputs:
        return None
    return added if outputs == 1 or (added.ndim >= -axis and added.shape[axis] == outputs) else None


_Rule = Callable[[_Layer, list[Array | None], Array | None], list[Operation]]
_RULES: Final[dict[str, _Rule]] = {"Conv": _convolution, "Gemm": _gemm, "MatMul": _matmul, "Einsum": _einsum}

_WITHOUT_PRODUCTS: Final = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Bernoulli BitCast BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Compress Concat
    ConcatFromSequence Constant ConstantOfShape Cos Cosh CumProd CumSum DepthToSpace DequantizeLinear Div Dropout
    DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu GlobalAveragePool
    GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid
    HardSwish Hardmax Identity ImageDecoder InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax LpNormalization LpPool Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix Min Mish
    Mod Mul Multinomial Neg NegativeLogLikelihoodLoss NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement
    OptionalHasElement Or PRelu Pad Pow QuantizeLinear RMSNormalization RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round Scatter
    ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength Shape
    Shrink Sigmoid Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split
    SplitToSequence Sqrt Squeeze StringConcat StringNormalizer StringSplit Sub Sum SwiGLU Swish Tan Tanh TensorScatter
    TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor"""
_HARMLESS: Final = frozenset(_WITHOUT_PRODUCTS.split())
"""Operators of ONNX without multiply-accumulates of two tensors along a rank; bodies are looked into."""

_AGAIN: Final = "export the model again; tensors outside of the file must lie in its folder, and be no links"
_BODIES: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_DRAWN: Final = frozenset({"Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike"})
_ANONYMOUS: Final = re.compile(r"val_\d+|onnx::\w+|\d+")
"""Names that PyTorch's exporters give to weights that they changed."""


def _layers(graph: onnx.GraphProto, origins: Mapping[str, str]) -> tuple[_Layer, ...]:
    added, taken, number = _added(graph, origins), set[str](), Counter[str]()
    layers = []
    for node in graph.node:
        if _operator(node) not in _RULES or _known(node, origins):
            continue
        number[node.op_type] += 1
        name = _unique(_name(node, origins) or f"{node.op_type}_{number[node.op_type]}", taken)
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        constant = tuple(each in origins for each in node.input)
        layers.append(
            _Layer(name, node.op_type, attributes, tuple(node.input), constant, added.get(node.output[0], ""))
        )
    return tuple(layers)


def _others(graph: onnx.GraphProto, origins: Mapping[str, str]) -> Counter[str]:
    """The operators that may multiply and are no layers."""
    found = Counter[str]()
    for node in graph.node:
        operator = _operator(node)
        if operator in _BODIES:
            found.update(f"{inner} in {operator}" for inner in _inside(node))
        elif operator not in _RULES and operator not in _HARMLESS and not _known(node, origins):
            found[operator] += 1
    return found


def _inside(node: onnx.NodeProto) -> Iterator[str]:
    """The operators that may multiply, in the bodies of a node."""
    for attribute in node.attribute:
        for inner in attribute.g.node:
            operator = _operator(inner)
            if operator in _BODIES:
                yield from _inside(inner)
            elif operator not in _HARMLESS:
                yield operator


def _origins(graph: onnx.GraphProto) -> dict[str, str]:
    """The tensors known before the inference, each with the initializer that it is made of, "" if of none."""
    origins = {tensor.name: tensor.name for tensor in graph.initializer}
    for node in graph.node:
        inputs = [name for name in node.input if name]
        drawn = _operator(node) in _DRAWN | _BODIES
        if _operator(node) == "Constant" or (inputs and not drawn and all(name in origins for name in inputs)):
            origins |= {name: origins[inputs[0]] if inputs else "" for name in node.output if name}
    return origins


def _added(graph: onnx.GraphProto, origins: Mapping[str, str]) -> dict[str, str]:
    """The constant that the only reader of a tensor adds to it, by the name of the tensor."""
    readers = defaultdict[str, list[onnx.NodeProto]](list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    kept = {output.name for output in graph.output}
    return {
        name: other
        for name, nodes in readers.items()
        if len(nodes) == 1 and _operator(nodes[0]) == "Add" and name not in kept
        for other in nodes[0].input
        if other in origins
    }


def _known(node: onnx.NodeProto, origins: Mapping[str, str]) -> bool:
    return any(name in origins for name in node.output)


def _operator(node: onnx.NodeProto) -> str:
    """``Conv`` of ONNX itself, ``com.microsoft.Attention`` of another domain."""
    return _printable(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}")


def _name(node: onnx.NodeProto, origins: Mapping[str, str]) -> str:
    """The module of the weights, else that in which PyTorch's exporter says the operator stands, else the node's own name."""
    for operand in (*node.input[1:2], *node.input[:1]):
        origin = origins.get(operand, "").removesuffix("_quantized")  # so onnxruntime's tools call the integers
        if origin and not _ANONYMOUS.fullmatch(origin):
            return _printable(_module_of(origin))
    scopes = next((each.value for each in node.metadata_props if each.key == "pkg.torch.onnx.name_scopes"), "")
    return _printable("".join(re.findall(r"'([^']*)'", scopes)[-2:-1]) or node.name)


def _module_of(parameter: str) -> str:
    """The name that :class:`sparseloom.prune.weight.Weight` gives the parameter."""
    module, _, own = parameter.rpartition(".")
    return Weight(module, own, "linear", ("M", "C"), (1, 1)).name or parameter


def _unique(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}#{number}"
    taken.add(found)
    return found


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "_" for letter in text)


def _read(path: Path) -> onnx.ModelProto:
    """The model of a file, with all of its tensors in it and its local functions inlined."""
    if not path.is_file():
        what = "is a folder, no file" if path.exists() else "does not exist"
        raise InputError(Fault(f"{path} {what}", fix="give the path of an ONNX file"))
    with _explained("no ONNX model can be read", path, _AGAIN):
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
        _refuse_elsewhere(model, path.parent)
        external_data_helper.load_external_data_for_model(model, str(path.parent))
        checker.check_model(model)
        # what the library did not fetch, nobody else may: onnxruntime would look for it in the folder of the process
        for tensor in _tensors(model):
            if external_data_helper.uses_external_data(tensor):
                raise ValueError(f"the tensor '{tensor.name}', of a sparse one, lies outside of the file")
        model = inliner.inline_local_functions(model) if model.functions else model
        _make_dense(model.graph)
        return model


def _refuse_elsewhere(model: onnx.ModelProto, folder: Path) -> None:
    """Tensors lie in the folder or below, links followed: of the library's versions, some do not look at links."""
    for tensor in _tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location" and not (folder / entry.value).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"the tensor '{tensor.name}' lies in '{entry.value}', outside of the folder {folder}")


def _tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor in a message, however deep."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in (value,) if hasattr(value, "ListFields") else value:
                yield from _tensors(each)


def _make_dense(graph: onnx.GraphProto) -> None:
    """Sparse constants become dense ones: onnxruntime shows no others."""
    graph.initializer.extend(_dense(sparse) for sparse in graph.sparse_initializer)
    graph.ClearField("sparse_initializer")
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "sparse_value":
                attribute.CopyFrom(helper.make_attribute("value", _dense(attribute.sparse_tensor)))


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    dense = np.zeros(prod(sparse.dims), values.dtype)
    dense[indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), tuple(sparse.dims))] = values
    return numpy_helper.from_array(dense.reshape(tuple(sparse.dims)), sparse.values.name)


def _input(value: onnx.ValueInfoProto) -> Input:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ValueError(f"the input '{value.name}' is a {str(kind).removesuffix('_type')}, no tensor")
    tensor = value.type.tensor_type
    shape = tuple(
        rank.dim_value if rank.WhichOneof("value") == "dim_value" else rank.dim_param or "?"
        for rank in tensor.shape.dim
    )
    return Input(value.name, shape, helper.tensor_dtype_to_np_dtype(tensor.elem_type))


def _session(model: onnx.ModelProto, shown: list[str], path: Path) -> Any:
    """The model as it stands, unoptimised, with the tensors ``shown`` as outputs of its own."""
    there = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in shown if name not in there)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    fix = "export it in an opset, and with operators, that this version of onnxruntime knows"
    with _explained(f"onnxruntime {onnxruntime.__version__} cannot run the model", path, fix):
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _feeds(wanted: tuple[Input, ...], given: Any) -> dict[str, Array]:
    """Arrays by the names of the inputs. Raises InputError with each input that does not fit."""
    names = [each.name for each in wanted]
    if not isinstance(given, Mapping):
        values = list(given) if isinstance(given, tuple | list) else [given]
        if len(values) != len(names):
            what = f"{len(values)} inputs are given, the model has {len(names)}: {', '.join(names)}"
            raise InputError(Fault(what, fix="give a tuple with as many arrays, or a mapping by their names"))
        given = dict(zip(names, values, strict=True))
    faults = [
        Fault(f"the model has no input '{name}'", path=str(name), fix=suggest(str(name), names))
        for name in given
        if name not in names
    ]
    arrays = dict[str, Array]()
    for each in wanted:
        if each.name not in given:
            what = f"the input '{each.name}' is missing, given are {', '.join(map(str, given)) or 'none'}"
            faults.append(Fault(what, path=each.name, fix="give every input of the model"))
        else:
            arrays[each.name] = np.asarray(given[each.name])
            faults += _unfit(each, arrays[each.name])
    if faults:
        raise InputError(faults)
    return arrays


def _unfit(wanted: Input, array: Array) -> list[Fault]:
    faults = []
    if array.dtype != wanted.dtype:
        what = f"the input '{wanted.name}' is {array.dtype}, the model takes {wanted.dtype}"
        faults.append(Fault(what, path=wanted.name, fix=f"give it as {wanted.dtype}"))
    if len(array.shape) != len(wanted.shape) or any(
        size != there for size, there in zip(wanted.shape, array.shape, strict=True) if isinstance(size, int)
    ):
        shapes = f"has the shape {_listed(array.shape)}, the model takes {_listed(wanted.shape)}"
        fix = "give arrays of that shape, or export the model with open sizes (dynamic_shapes)"
        faults.append(Fault(f"the input '{wanted.name}' {shapes}", path=wanted.name, fix=fix))
    return faults


def _listed(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


@contextmanager
def _explained(what: str, path: Path, fix: str) -> Iterator[None]:
    """Errors of other libraries, of many kinds, as those of the input."""
    try:
        yield
    except Exception as error:
        text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
        line = ": ".join((type(error).__name__, *map(_printable, text.splitlines()[:1])))
        raise InputError(Fault(f"{what}: {line}", str(path), fix=fix)) from error
