"""An imported model in words."""

from __future__ import annotations

from sparseloom.prune.imported import Imported
from sparseloom.results.table import number, shorten, table


def text(imported: Imported) -> str:
    """A line for each layer, the totals, and what could not be imported."""
    network = imported.network
    rows = [
        (
            shorten(given.name, 48), shorten(str(layer.einsum), 44), number(layer.total_computes), number(layer.weights),
            given.pattern or "", " ".join(f"{tensor} {density:.3f}" for tensor, density in given.densities.items()),
        )
        for given, layer in zip(imported.layers, network.layers, strict=True)
    ]  # fmt: skip
    rows.append(("all", "", number(network.computes), number(network.weights), "", ""))
    lines = [table(("layer", "einsum", "MACs", "weights", "pattern", "density"), rows, 2)]
    how = {"export": "by torch.export", "trace": "by what it calls when it runs", "onnx": "by its ONNX graph"}[
        imported.way
    ]
    lines += ["", f"read {how}, densities over {imported.samples} samples"]
    if imported.reason:
        lines.append(f"torch.export cannot read it: {imported.reason}")
    for name, times in (imported.unsupported or {}).items():
        lines.append(f"left out: {name}, {times} times: its multiply-accumulates are not counted")
    return "\n".join(lines)
