from hypothesis import given
from hypothesis import strategies as st

from sparseloom.results import Outcomes, RankUnits

counts = st.integers(0, 2**40)
outcomes = st.builds(Outcomes, counts, counts, counts)


@given(outcomes, outcomes)
def test_sums_keep_every_outcome_apart(a: Outcomes, b: Outcomes) -> None:
    both = a + b
    assert (both.actual - a.actual, both.gated - a.gated, both.skipped - a.skipped) == (b.actual, b.gated, b.skipped)
    assert both.total == a.total + b.total


@given(outcomes, outcomes)
def test_units_of_a_rank_are_its_metadata_and_its_payload(metadata: Outcomes, payload: Outcomes) -> None:
    assert RankUnits(metadata, payload).units == metadata + payload
