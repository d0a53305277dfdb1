"""What differs between the versions of Timeloop's files, as data: everything else is read the same way.

Keys are compared with ``-`` written as ``_`` (``block-size`` is ``block_size``), in every version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TAGS: Final = frozenset({"!Container", "!Component", "!Parallel"})
"""Tags of v0.4 architectures. They are read as plain mappings: what a node is follows from its keys."""


@dataclass(frozen=True)
class Dialect:
    """One version. ``children`` are the keys under which an architecture holds its tree; ``lists_storage`` says that it holds
    a list of levels, innermost first, and no tree. ``instances`` is how many instances of a component are written.

    ``fanout_level`` names the level that Timeloop's front end puts where a node with a spatial fan-out stands (empty:
    none); ``top_suffix`` is what the front end appends to the name of the top; ``inherits`` says that a container's
    attributes are those of all components below it; ``inline_instance`` that sizes may stand beside ``shape``;
    ``shape`` is the name of the problem's shape where none is given (empty: one has to be given).
    """

    version: str
    children: tuple[str, ...]
    fanout_level: str = ""
    top_suffix: str = ""
    inherits: bool = False
    inline_instance: bool = False
    lists_storage: bool = False
    instances: str = "{}[0..N-1] with N instances"
    shape: str = ""


v01: Final = Dialect(
    "0.1", (), inline_instance=True, lists_storage=True, instances="`instances: N` at {}", shape="cnn-layer"
)
"""The syntax before version 0.2, which gives no version: it has `arch` where others have `architecture`."""
v02: Final = Dialect("0.2", ("subtree",), inline_instance=True)
v03: Final = Dialect("0.3", ("subtree",), inline_instance=True)
v04: Final = Dialect("0.4", ("nodes", "subtree"), "inter_{}_spatial", "_top_level", inherits=True)

DIALECTS: Final = {dialect.version: dialect for dialect in (v02, v03, v04)}

_WORD: Final = frozenset({"word_bits", "word_width", "datawidth", "instances", "meshX", "meshY"})

STORAGE_ATTRIBUTES: Final = _WORD | {
    "block_size", "n_words", "cluster_size", "width", "memory_width", "data_storage_width",
    "entries", "depth", "memory_depth", "data_storage_depth", "sizeKB",
    "metadata_storage_width", "metadata_storage_depth", "metadata_datawidth", "metadata_word_bits",
    "read_bandwidth", "write_bandwidth", "shared_bandwidth", "bandwidth",
    "multiple_buffering", "min_utilization", "allow_overbooking", "reduction_supported",
    "compression_supported", "decompression_supported", "network_fill_latency", "network_drain_latency",
}  # fmt: skip

SECTIONS: Final[dict[str, frozenset[str]]] = {
    "top": frozenset({"architecture", "arch", "problem", "mapping", "sparse_optimizations", "ERT"}),
    "architecture": frozenset({"version", "subtree", "nodes"}),
    "arch": frozenset({"storage", "arithmetic"}),
    "subtree": frozenset({"name", "local", "subtree"}),
    "component": frozenset({"name", "class", "attributes", "enabled"}),
    "node": frozenset({"name", "class", "attributes", "enabled", "spatial", "nodes", "sparse_optimizations"}),
    "spatial": frozenset({"meshX", "meshY"}),
    "storage attributes": STORAGE_ATTRIBUTES,
    "compute attributes": _WORD,
    "problem": frozenset({"version", "shape", "instance"}),
    "shape": frozenset({"name", "dimensions", "coefficients", "data_spaces"}),
    "coefficient": frozenset({"name", "default"}),
    "data-space": frozenset({"name", "projection", "read_write"}),
    "density": frozenset({"distribution", "density", "data_file_path", "band_width"}),
    "temporal loops": frozenset({"target", "type", "factors", "permutation", "no_temporal_reuse"}),
    "spatial loops": frozenset(
        {"target", "type", "factors", "permutation", "split", "no_link_transfer", "no_multicast_no_reduction"}
    ),
    "bypass": frozenset({"target", "type", "keep", "bypass", "stream"}),
    "temporal constraint": frozenset({"target", "type", "factors", "factors_only", "permutation"}),
    "spatial constraint": frozenset(
        {"target", "type", "factors", "factors_only", "permutation", "split", "no_link_transfer"}
    ),
    "bypass constraint": frozenset({"target", "type", "keep", "keep_only", "bypass", "stream"}),
    "node constraints": frozenset({"temporal", "spatial", "dataspace"}),
    "parallelism": frozenset({"target", "type", "min", "max"}),
    "sparse": frozenset({"targets"}),
    "sparse target": frozenset(
        {"name", "target", "representation_format", "action_optimization", "compute_optimization"}
    ),
    "representation": frozenset({"data_spaces"}),
    "tensor format": frozenset({"name", "ranks", "rank_application_order"}),
    "rank": frozenset({"format", "flattened_rankIDs", "metadata_word_bits", "payload_word_bits"}),
    "action": frozenset({"type", "target", "condition_on", "options"}),
    "option": frozenset({"target", "condition_on"}),
    "compute action": frozenset({"type", "gate_on_zero_operand", "skip_on_not_aligned_operands"}),
    "ERT": frozenset({"version", "tables"}),
    "ERT table": frozenset({"name", "actions"}),
    "ERT action": frozenset({"name", "arguments", "energy"}),
}
"""The keys that are read, by the part of a file they stand in."""


def canonical(key: str) -> str:
    """A key as :data:`SECTIONS` writes it."""
    return key.replace("-", "_")
