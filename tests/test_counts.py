from math import inf

from adapter.counts import NAME_LENGTH, OTHER, SAMPLES, Histogram, NamedCounts, SampledCounts


def test_names_are_counted_by_source() -> None:
    counts = NamedCounts()
    for source, name in [("a", "102"), ("a", "102"), ("b", "102")]:
        counts.add(source, name)
    assert counts.by_source_and_name() == {("a", "102"): 2, ("b", "102"): 1}


def test_names_past_the_limit_are_counted_together_for_each_source() -> None:
    counts = NamedCounts(names_limit=2)
    for name in ["one", "two", "three", "four", "one"]:
        counts.add("a", name)
    counts.add("b", "five")
    assert counts.by_source_and_name() == {("a", "one"): 2, ("a", "two"): 1, ("a", OTHER): 2, ("b", "five"): 1}


def test_a_long_name_is_cut() -> None:
    counts = NamedCounts()
    counts.add("a", "x" * 10_000)
    assert list(counts.by_source_and_name()) == [("a", "x" * NAME_LENGTH)]


def test_of_what_is_counted_with_samples_the_last_ones_are_kept() -> None:
    counts = SampledCounts(names_limit=1)
    for number in range(SAMPLES + 2):
        counts.add("a", "one", 10, (number, f"sample {number}"))
    counts.add("a", "two", 1, (7, "of a name past the limit"))
    assert counts.by_source_and_name() == {("a", "one"): 10 * (SAMPLES + 2), ("a", OTHER): 1}
    assert [one.received_at for one in counts.samples("a", "one")] == [*range(2, SAMPLES + 2)]
    assert counts.samples("a", OTHER) == ((7, "of a name past the limit"),)
    assert counts.samples("b", "one") == ()


def test_a_histogram_counts_what_does_not_exceed_each_bound() -> None:
    histogram = Histogram([1, 10])
    for value in (0.5, 1, 2, 10, 11):
        histogram.add(value)
    assert histogram.cumulative() == [(1, 2), (10, 4), (inf, 5)]
    assert histogram.total == 24.5
