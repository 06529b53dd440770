"""What is compressed together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapter.log.runs import RUN_ENTRIES, RUN_SIZE, cut

_NEIGHBOURS = st.lists(
    st.tuples(st.sampled_from([0, 1, 500, RUN_SIZE // 2, RUN_SIZE, 2 * RUN_SIZE]), st.sampled_from(["a", "b"])),
    max_size=100,
)


@given(_NEIGHBOURS)
def test_each_entry_is_in_one_run_and_a_run_is_short_and_of_one_kind(neighbours: list[tuple[int, str]]) -> None:
    runs = list(cut([size for size, _ in neighbours], [kind for _, kind in neighbours]))
    assert [number for run in runs for number in range(run.start, run.stop)] == [*range(len(neighbours))]
    for run in runs:
        together = neighbours[run]
        assert len({kind for _, kind in together}) == 1
        assert len(together) <= RUN_ENTRIES
        assert len(together) == 1 or sum(size for size, _ in together) <= RUN_SIZE


def test_equal_neighbours_fill_whole_runs() -> None:
    assert [run.stop for run in cut([100] * 70, ["a"] * 70)] == [32, 64, 70]
