"""Modules that need a library which is not installed are not searched for examples: their tests say that they were skipped."""

from importlib.util import find_spec

_NEEDS = {"torch": ["src/sparseloom/prune"], "keras": ["src/sparseloom/prune/keras.py"], "onnx": ["src/sparseloom/prune/onnx.py"]}

collect_ignore = [path for library, paths in _NEEDS.items() if find_spec(library) is None for path in paths]
