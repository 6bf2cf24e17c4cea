"""The buckets are HdrHistogram's, and so are the values they stand for."""

import numpy as np
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from kernels.layout import HIST_WORDS
from results.numbers.statistics import HIGHS_NS, LOWS_NS, MIDS_NS, summary, values_at_ranks
from results.tests.builders.run import bucket_of, counted

values_ns = st.integers(0, 2**40 - 1)


def test_buckets_double_in_width_with_every_doubling_of_the_value_from_256_on():
    values = (0, 1, 128, 255, 256, 257, 258, 511, 512, 515, 516)

    assert [bucket_of(value) for value in values] == [0, 1, 128, 255, 256, 256, 257, 383, 384, 384, 385]


def test_the_last_bucket_ends_just_below_two_to_the_fortieth_and_counts_what_is_larger():
    assert (bucket_of(-5), bucket_of(2**40 - 1), bucket_of(2**50)) == (0, HIST_WORDS - 1, HIST_WORDS - 1)
    assert HIGHS_NS[-1] == 2**40 - 1


def test_buckets_lie_one_behind_the_other_without_a_gap():
    assert (LOWS_NS[1:] == HIGHS_NS[:-1] + 1).all()


@given(values_ns)
def test_the_range_of_a_bucket_is_that_of_hdrhistogram(value: int):
    hdr = HdrHistogram(1, 2**40 - 1, 2)
    place = bucket_of(value)

    assert LOWS_NS[place] == hdr.get_lowest_equivalent_value(value)
    assert HIGHS_NS[place] == hdr.get_highest_equivalent_value(value)
    assert MIDS_NS[place] == hdr.get_lowest_equivalent_value(value) + (HIGHS_NS[place] - LOWS_NS[place] + 1) // 2


def test_a_rank_gives_the_highest_value_of_its_bucket_and_one_that_no_sample_has_the_last_ones():
    counts = counted(10, 10, 1000)

    assert values_at_ranks(counts, np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [10, 10, 1003, 1003]


def test_least_and_greatest_are_the_ends_of_the_filled_buckets():
    found = summary(counted(1000, 5000))

    assert (found["min"], found["max"]) == (1000, 5023)
