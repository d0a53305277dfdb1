"""Networks in integers: what a quantised model computes, defined once (docs/integers.md) for PyTorch, NumPy and generated
code."""
