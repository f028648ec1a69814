"""The search for what a table has: in few reads, and honest where it ends early."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.modbus.span_search import Finding, Span, SpanSearch, readable


def searched(there, *, first=0, last=199, largest=125, most_reads=1000, never=()):
    """The search over a device that has these registers; and every read that it made."""
    search, reads = SpanSearch(first, last, largest=largest, most_reads=most_reads, never=never), []
    while (span := search.next()) is not None:
        reads.append((span.first, span.last))
        whole = set(range(span.first, span.last + 1)) <= there
        search.take(span, Finding.READ if whole else Finding.REFUSED)
    return search, reads


@given(st.sets(st.integers(0, 63)), st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_with_reads_enough_exactly_what_is_there_is_found(there, largest):
    search, _ = searched(there, last=63, largest=largest)
    found = {n for first, last in readable(search.spans()) for n in range(first, last + 1)}
    assert found == there
    assert not search.over


@given(st.sets(st.integers(0, 63)), st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_what_it_says_is_true_however_early_it_ends_and_covers_everything(there, most_reads):
    search, reads = searched(there, last=63, largest=16, most_reads=most_reads)
    assert len(reads) <= most_reads
    covered = []
    for span in search.spans():
        numbers = range(span.first, span.last + 1)
        covered += numbers
        if span.finding is Finding.READ:
            assert set(numbers) <= there
        if span.finding is Finding.REFUSED:
            assert not set(numbers) & there
    assert covered == list(range(64))


def test_one_edge_is_found_in_a_handful_of_reads():
    search, _ = searched(set(range(77)), last=124, most_reads=2 * 7 + 3)
    assert readable(search.spans()) == [(0, 76)]
    assert Span(77, 77, Finding.REFUSED) in search.spans()


def test_a_stretch_that_may_never_be_read_is_never_in_a_read():
    search, reads = searched(set(range(200)), never=((10, 12), (100, 100)))
    asked = {n for first, last in reads for n in range(first, last + 1)}
    assert asked == set(range(200)) - {10, 11, 12, 100}
    assert readable(search.spans()) == [(0, 9), (13, 99), (101, 199)]


def test_a_small_map_with_holes_far_out_is_found_in_few_reads():
    there = {*range(400, 410), *range(412, 420), *range(425, 430)}
    search, _ = searched(there, last=999, most_reads=80)
    assert readable(search.spans()) == [(400, 409), (412, 419), (425, 429)]


def test_a_device_that_takes_few_registers_at_once_is_not_taken_for_one_with_holes():
    search = SpanSearch(0, 99, largest=125, most_reads=1000)
    while (span := search.next()) is not None:
        search.take(span, Finding.READ if span.count <= 10 else Finding.REFUSED)
    assert readable(search.spans()) == [(0, 99)]


@pytest.mark.parametrize("finding", [Finding.FAILED, Finding.READ], ids=["failed", "read"])
def test_only_refusal_is_taken_apart(finding):
    search = SpanSearch(0, 9, largest=10, most_reads=10)
    search.take(search.next(), finding)
    assert search.next() is None
    assert search.spans() == (Span(0, 9, finding),)
