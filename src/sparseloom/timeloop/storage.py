"""The attributes of one storage component: word, block and cluster, sizes, metadata store, bandwidths."""

from __future__ import annotations

from typing import Final

from sparseloom.arch.hierarchy import StorageLevel
from sparseloom.document import Node
from sparseloom.mapping.details import LevelDetails
from sparseloom.timeloop.reader import Reader

FANOUT_CLASS: Final = "dummy_storage"
"""The class of a level that only stands for a fan-out and keeps nothing."""

Fields = dict[str, Node]


def stands_for_fanout(level: LevelDetails, reader: Reader) -> bool:
    """Whether a level is one that v0.4's front end puts where a fan-out is."""
    return bool(reader.dialect.fanout_level) and level.class_name == FANOUT_CLASS


def read_storage(
    name: str, class_name: str, mesh: tuple[int, int], fields: Fields, node: Node, reader: Reader
) -> tuple[StorageLevel, LevelDetails]:
    """A storage level from its attributes; energies come later, from the ERT.

    A word has 16 bits unless ``word-bits`` (``datawidth``) says otherwise. Of ``width = word bits x block x cluster``,
    what is not given follows: both block and cluster given must multiply to the width; one of them gives the
    other; neither makes the cluster 1. The size in words is ``entries``, ``depth x block`` or ``sizeKB``; without any
    of them the level is unbounded, of size 0 it stores nothing. The capacity is ``floor(size / multiple_buffering)``,
    for metadata ``depth x width`` bits alike. ``bandwidth`` is half to reads and half to writes.

    Source: Timeloop, src/model/buffer.cpp.
    """
    one = _one_of(fields, reader)
    word = reader.integer(one("word_bits", "word_width", "datawidth"), 1) or 16
    block, cluster = _block(word, fields, node, reader)
    size = _size(word, block, fields, reader)
    buffering = reader.number(fields.get("multiple_buffering"), 1) or 1.0
    width = reader.integer(fields.get("metadata_storage_width")) or 0
    depth = reader.integer(fields.get("metadata_storage_depth")) or 0
    reads, writes, shared = _bandwidths(fields, reader)
    level = StorageLevel(
        name,
        word_bits=word,
        capacity_words=None if size is None else int(size // buffering),
        block_words=block,
        metadata_capacity_bits=None if size is None else int(width * depth // buffering),
        metadata_width_bits=width,
        read_words_per_cycle=reads,
        write_words_per_cycle=writes,
        shared_words_per_cycle=shared,
        mesh_x=mesh[0],
        mesh_y=mesh[1],
        holds=frozenset() if size == 0 else None,
    )
    return level, _details(class_name, size, cluster, buffering, fields, reader)


def _details(
    class_name: str, size: int | None, cluster: int, buffering: float, fields: Fields, reader: Reader
) -> LevelDetails:
    reduces, overbooks = (reader.flag(fields.get(key)) for key in ("reduction_supported", "allow_overbooking"))
    if overbooks:
        reader.note(fields["allow_overbooking"], "overbooking is not modelled: tiles that do not fit are refused")
    if reduces is False:
        reader.note(
            fields["reduction_supported"],
            "a level that cannot reduce is not modelled: its updates are counted as usual",
        )
    return LevelDetails(
        class_name,
        size_words=size,
        metadata_word_bits=reader.integer(_one_of(fields, reader)("metadata_datawidth", "metadata_word_bits")) or 0,
        cluster_size=cluster,
        multiple_buffering=float(buffering),
        min_utilization=float(reader.number(fields.get("min_utilization")) or 0.0),
        fill_latency_cycles=float(reader.number(fields.get("network_fill_latency")) or 0.0),
        drain_latency_cycles=float(reader.number(fields.get("network_drain_latency")) or 0.0),
    )


class _one_of:
    """Finds an attribute under one of its names; more than one of them with different values is a fault."""

    def __init__(self, fields: Fields, reader: Reader) -> None:
        self.fields, self.reader = fields, reader

    def __call__(self, *keys: str) -> Node | None:
        found = [(key, self.fields[key]) for key in keys if key in self.fields]
        if not found:
            return None
        for key, node in found[1:]:
            if node.value != found[0][1].value:
                what = f"{found[0][0]} is {found[0][1].value} and {key} is {node.value}, the same attribute"
                self.reader.fault(node, what, "keep one of them")
        return found[0][1]


def _block(word: int, fields: Fields, node: Node, reader: Reader) -> tuple[int, int]:
    one = _one_of(fields, reader)
    block = reader.integer(one("block_size", "n_words"), 1)
    cluster = reader.integer(fields.get("cluster_size"), 1)
    wide = one("width", "memory_width", "data_storage_width")
    width = reader.integer(wide, 1)
    if width is None or wide is None:
        return block or 1, cluster or 1
    known = (block or 1) * (cluster or 1) * word
    if (block and cluster and known != width) or width % known:
        parts = [
            f"word bits {word}",
            *([f"block {block}"] if block else []),
            *([f"cluster {cluster}"] if cluster else []),
        ]
        rule = "are not" if block and cluster else "do not divide"
        what = f"{' x '.join(parts)} = {known} {rule} the width, {width}"
        reader.fault(wide, what, "width = word bits x block x cluster")
        return block or 1, cluster or 1
    if block is None:
        return width // known, cluster or 1
    return block, cluster or width // known


def _size(word: int, block: int, fields: Fields, reader: Reader) -> int | None:
    one = _one_of(fields, reader)
    entries = reader.integer(fields.get("entries"))
    depth = reader.integer(one("depth", "memory_depth", "data_storage_depth"))
    kilobytes = reader.number(fields.get("sizeKB"))
    if entries is not None:
        return entries
    if depth is not None:
        return depth * block
    return None if kilobytes is None else int(kilobytes * 1024 * 8 // word)


def _bandwidths(fields: Fields, reader: Reader) -> tuple[float | None, float | None, float | None]:
    """Words per cycle and instance that can be read, written, and both together; 0 is no bandwidth and a fault."""
    both = _positive(fields.get("bandwidth"), reader)
    reads, writes, shared = (_positive(fields.get(f"{kind}_bandwidth"), reader) for kind in ("read", "write", "shared"))
    half = None if both is None else both / 2
    return (half if reads is None else reads), (half if writes is None else writes), shared


def _positive(node: Node | None, reader: Reader) -> float | None:
    value = reader.number(node)
    if node is not None and value == 0:
        reader.fault(node, "a bandwidth of 0 words per cycle", "leave the key out for an unbounded one")
    return None if value is None else float(value)
