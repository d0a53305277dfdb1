"""Random formats for tests of encodings and predictions."""

import pytest
from hypothesis import strategies as st

from sparseloom.fibertree.format import KINDS, Format, RankFormat


@st.composite
def _formats(draw: st.DrawFn, ranks: tuple[str, ...]) -> Format:
    """A format that flattens, reorders, splits and leaves out ranks; some widths are given."""
    names: list[str] = []
    for rank in ranks:
        sizes = draw(st.lists(st.integers(1, 3), max_size=2))
        parts = [f"{rank}{len(sizes)}", *(f"{rank}{len(sizes) - 1 - i}={size}" for i, size in enumerate(sizes))]
        parts = [rank] if not sizes else parts[draw(st.integers(0, 1)) :]
        for name in parts if draw(st.integers(0, 4)) else []:  # a later part goes anywhere behind the one before it
            after = max((i + 1 for i, other in enumerate(names) if other in parts), default=0)
            names.insert(draw(st.integers(after, len(names))), name)
    cuts = sorted(draw(st.sets(st.integers(0, len(names)), max_size=3)))
    groups = [names[i:j] for i, j in zip([0, *cuts], [*cuts, len(names)], strict=True)]
    widths = st.one_of(st.none(), st.integers(1, 3))
    return Format(tuple(RankFormat(draw(st.sampled_from(KINDS)), tuple(group), draw(widths)) for group in groups))


@pytest.fixture(scope="session")
def formats():
    """``formats(ranks)``: a strategy of formats for a tensor with these ranks."""
    return _formats
