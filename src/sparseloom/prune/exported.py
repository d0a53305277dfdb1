"""A PyTorch model as layers: its graph by ``torch.export``, or, where that fails, what it calls when it runs."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sparseloom.errors import Fault, InputError
from sparseloom.prune.model import call as run_model
from sparseloom.prune.operation import LAYERS, Call, Operation, Unsupported, operations, parameters
from sparseloom.prune.weight import Weight

See = Callable[[str, Operation], None]
"""Told the name of a layer, and the operation with its tensors."""

_HARMLESS: Final = frozenset((Path(__file__).parent / "operators.txt").read_text("utf-8").split())
"""Operators without multiply-accumulates of two tensors along a rank; PyTorch marks views and pointwise ones."""


class Traced(ABC):
    """A model that can be run while its layers are seen. ``way`` says how it was read, ``reason`` why not by export;
    ``unsupported`` are the operators seen so far that multiply tensors but are no layers, and how often."""

    way: str
    reason: str = ""

    def __init__(self) -> None:
        self.unsupported = Counter[str]()

    @abstractmethod
    def run(self, inputs: Any, see: See) -> None:
        """Run the model, showing each layer in the order of their execution."""

    def _see(self, operator: str, name: str, call: Call, see: See) -> None:
        try:
            found = operations(operator, call)
        except Unsupported as why:
            self.unsupported[str(why)] += 1
            return
        for operation in found:
            see(f"{name}.{operation.suffix}" if operation.suffix else name, operation)


def traced(model: nn.Module, example: Any) -> Traced:
    """A model made ready to be seen on inputs like the ``example``. Raises InputError for one that cannot run on it."""
    model.eval()
    try:
        with torch.no_grad():
            run_model(model, example)
    except Exception as error:
        what = f"the model does not run on the data: {_line(error)}"
        raise InputError(Fault(what, fix="give data whose inputs fit the model's forward()")) from error
    arguments, named = _arguments(example)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(_Tensors(model).eval(), arguments, named)
    except (
        Exception
    ) as error:  # of many kinds: control flow by values, types of outputs, operators without a shape rule
        return ByDispatch(model, _line(error)[:160])
    return ByExport(program)


class ByExport(Traced):
    """By the graph of ``torch.export``."""

    way = "export"

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        with _quiet():
            self._module = program.module()
        self._constant = set[str]()
        self._layers = dict[str, str]()
        self._other = Counter[str]()
        taken = Counter[str]()
        for node in self._module.graph.nodes:
            if node.op == "get_attr":
                self._constant.add(node.name)
            if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
                continue
            operator = _operator(node.target)
            if node.all_input_nodes and all(source.name in self._constant for source in node.all_input_nodes):
                self._constant.add(node.name)
            elif operator in LAYERS:
                self._layers[node.name] = _unique(self._name(node), taken)
            elif not _harmless(node.target):
                self._other[operator] += 1

    def run(self, inputs: Any, see: See) -> None:
        self.unsupported = Counter(self._other)
        arguments, named = _arguments(inputs)
        placeholders = [node for node in self._module.graph.nodes if node.op == "placeholder"]
        values = [*arguments, *(named[node.target] for node in placeholders[len(arguments) :])]
        with torch.no_grad():
            _Interpreter(self, see).run(*values)

    def _name(self, node: fx.Node) -> str:
        """The module of the weight, or that in which the operator stands."""
        weight = self._weight(node)
        if weight:
            return _module_of(weight)
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = stack[-1][0] if stack else ""
        return _bare(path) or _operator(node.target)

    def _weight(self, node: fx.Node) -> str:
        """The parameter behind the weights of a layer, "" if none is."""
        for source in (
            node.all_input_nodes[1:2]
            if _operator(node.target) not in ("addmm", "baddbmm")
            else node.all_input_nodes[1:]
        ):
            while source.op != "get_attr" and source.name in self._constant:
                source = source.all_input_nodes[0]
            if source.op == "get_attr":
                return _bare(str(source.target))
        return ""


class _Interpreter(fx.Interpreter):
    def __init__(self, traced: ByExport, see: See) -> None:
        super().__init__(traced._module)
        self._traced, self._show = traced, see

    def run_node(self, node: fx.Node) -> Any:
        layer = self._traced._layers.get(node.name)
        if layer is not None:
            arguments, named = self.fetch_args_kwargs_from_env(node)
            known = {id(self.env[source]) for source in node.all_input_nodes if source.name in self._traced._constant}
            call = _call(_operator(node.target), arguments, named, lambda value: id(value) in known)
            self._traced._see(_operator(node.target), layer, call, self._show)
        return super().run_node(node)


class ByDispatch(Traced):
    """By the operators that the model calls when it runs."""

    way = "trace"

    def __init__(self, model: nn.Module, reason: str) -> None:
        super().__init__()
        self._model, self.reason = model, reason

    def run(self, inputs: Any, see: See) -> None:
        self.unsupported = Counter()
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.no_grad(), _Mode(self, self._model, see):
                run_model(self._model, inputs)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, traced: ByDispatch, model: nn.Module, see: See) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._traced, self._show = traced, see
        self._taken = Counter[str]()
        self._path = [""]
        held = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        self._held = {tensor.untyped_storage().data_ptr(): _bare(name, "") for name, tensor in reversed(held)}
        self._hooks = [
            hook
            for name, module in model.named_modules()
            for hook in (
                module.register_forward_pre_hook(lambda *_, name=name: self._path.append(name)),
                module.register_forward_hook(lambda *_: self._path.pop() and None, always_call=True),
            )
        ]

    def __exit__(self, *error: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operator = _operator(function)
        if operator in LAYERS:
            call = _call(operator, args, kwargs or {}, self._constant)
            weight = next(
                (self._parameter(value) for value in list(call.values.values())[1:] if self._constant(value)), ""
            )
            name = _unique(_module_of(weight) if weight else self._path[-1] or operator, self._taken)
            self._traced._see(operator, name, call, self._show)
        elif not _harmless(function):
            self._traced.unsupported[operator] += 1
        return function(*args, **(kwargs or {}))

    def _constant(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.untyped_storage().data_ptr() in self._held

    def _parameter(self, value: Tensor) -> str:
        return self._held[value.untyped_storage().data_ptr()]


class _Tensors(nn.Module):
    """A model that returns tensors alone, of outputs that have a type of their own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *arguments: Any, **named: Any) -> list[Tensor]:
        return list(_tensors(self.model(*arguments, **named)))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(each)


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, dict):
        return (), inputs
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}


def _call(operator: str, args: Any, kwargs: Any, constant: Callable[[Any], bool]) -> Call:
    return Call({**dict(zip(parameters(operator), args, strict=False)), **kwargs}, constant)


def _operator(function: Any) -> str:
    """``conv2d`` of aten.conv2d.default, ``add`` of aten.add_.Tensor."""
    return str(function._schema.name).partition("::")[2]


def _harmless(function: Any) -> bool:
    """It has no multiply-accumulates of two tensors along a rank: a view, pointwise, or known."""
    if torch.Tag.pointwise in function.tags:
        return True
    viewed = any(
        argument.alias_info is not None and not argument.alias_info.is_write for argument in function._schema.arguments
    )
    return viewed or _operator(function).rstrip("_") in _HARMLESS or _operator(function) in _HARMLESS


def _bare(path: str, prefix: str = "model.") -> str:
    """A path in the model, without the wrapper and without parametrizations."""
    path = path.removeprefix(prefix) if path != prefix.rstrip(".") else ""
    return path.replace("parametrizations.", "").removesuffix(".original")


def _module_of(parameter: str) -> str:
    """The name that :class:`sparseloom.prune.weight.Weight` gives the parameter."""
    module, _, own = parameter.rpartition(".")
    return Weight(module, own, "linear", ("M", "C"), (1, 1)).name or parameter


def _unique(name: str, taken: Counter[str]) -> str:
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}#{taken[name]}"


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of export about its own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
