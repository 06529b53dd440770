"""Whatever way and however often events come, each makes one entry."""

from __future__ import annotations

import itertools
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.log.identity import Former, Identities, keys_of
from adapter.log.protocol import NewEntry, Receipt
from adapter.log.sqlite.commit import Committer
from adapter.log.sqlite.files import Files
from adapter.log.sqlite.messages import Append, Appended
from adapter.log.sqlite.reading import open_reader, read_entries
from adapter.log.sqlite.schema import connect_writing
from adapter.model import Entry
from tests.log.entries import new_entry

#: An event, and whether this copy of it comes with the provider's id.
Copy = tuple[int, bool]


def body_of(body: list[tuple[str | None, str]]) -> list[NewEntry]:
    """A body of copies (strong and weak key)."""
    return [new_entry(strong, weak) for strong, weak in body]


def append_all(requests: list[list[NewEntry]], *, together: bool) -> tuple[list[list[Receipt]], list[Entry]]:
    """Commit these requests to a new log, in one transaction or one after the other, as its writer does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.sqlite"
        with closing(connect_writing(path, dictionary=b"", busy_timeout=1)) as connection, open_reader(path) as reader:
            committer = Committer(path, connection, Files(path))
            works = [Append(request) for request in requests]
            commits = [works] if together else [[work] for work in works]
            answers = [answer for commit in commits for answer in committer.commit(commit).answers]
            receipts = [answer.receipts for answer in answers if isinstance(answer, Appended)]
            assert len(receipts) == len(requests)
            return receipts, read_entries(reader, 0)


def divided(copies: list[Copy], cuts: list[int]) -> list[list[Copy]]:
    places = sorted({0, *(cut % (len(copies) + 1) for cut in cuts), len(copies)})
    return [copies[start:end] for start, end in itertools.pairwise(places)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20, unique=True),
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=20, unique=True),
    st.lists(st.integers(0, 40), max_size=6),
    st.booleans(),
)
def test_copies_with_and_without_an_id_in_any_order_and_grouping_are_one_entry(
    first: list[Copy], again: list[Copy], cuts: list[int], together: bool
) -> None:
    bodies = [divided(first, cuts), divided(again, cuts)]
    requests = [
        # In one body an event without an id comes once: two equal ones would be two events.
        body_of([(f"id {event}" if has_id else None, f"fields {event}") for event, has_id in dict.fromkeys(body)])
        for way in bodies
        for body in way
        if body
    ]
    answers, entries = append_all(requests, together=together)
    events = {event for event, _ in first + again}
    assert len(entries) == len(events)
    assert [entry.position for entry in entries] == list(range(1, len(events) + 1))
    uids = {entry.uid for entry in entries}
    assert {receipt.uid for answer in answers for receipt in answer} == uids
    assert sum(receipt.position is not None for answer in answers for receipt in answer) == len(events)


class CountedContents:
    """The contents of new entries; counts how often they are read."""

    def __init__(self) -> None:
        self.new: list[NewEntry] = []
        self.read = 0

    def event(self, position: int) -> bytes | None:
        self.read += 1
        return self.new[position - 1].event

    def raw(self, position: int) -> bytes | None:
        self.read += 1
        return self.new[position - 1].raw


@pytest.mark.parametrize("is_event", [True, False])
@pytest.mark.parametrize("has_ids", [True, False])
def test_events_of_one_weak_key_cost_no_more_however_many_there_are(has_ids: bool, is_event: bool) -> None:
    count = 3000
    contents = CountedContents()
    identities = Identities({}, lambda key: None, contents)
    more: dict[str, Any] = {} if is_event else {"type": None, "event": None, "problem": "no row"}
    for number in range(count):
        entry = new_entry(f"{number}" if has_ids else None, "w", session=f"{number}", **more)
        contents.new.append(entry)
        (keys,) = keys_of([entry], Former(0), set())
        assert identities.resolve(entry, keys, number + 1).position == number + 1
    # Each is read once, and what it is held against stays in memory, or nearly.
    assert contents.read < 2 * count * (1 if is_event else 2)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_a_body_of_equal_events_sent_again_in_either_way_adds_nothing(
    equals: list[int], ways: list[bool], chance: object
) -> None:
    """Each way gives all events of one moment in one body: with ids, or without any."""
    events = [(f"id {kind}-{number}", f"fields {kind}") for kind, count in enumerate(equals) for number in range(count)]
    requests = []
    for has_ids in ways:
        order = list(events)
        chance.shuffle(order)  # type: ignore[attr-defined]
        requests.append(body_of([(strong if has_ids else None, weak) for strong, weak in order]))
    answers, entries = append_all(requests, together=False)
    assert len(entries) == len(events)
    assert all(receipt.position is None for answer in answers[1:] for receipt in answer)
    for answer in answers:
        assert len({receipt.uid for receipt in answer}) == len(events)
