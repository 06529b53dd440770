"""Large requests are made ready as they arrive, and stored as if all of it had been done at once."""

from __future__ import annotations

import gc
import random
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from adapter.log.protocol import NewEntry, Receipt
from adapter.log.sqlite.checking import check_stretch
from adapter.log.sqlite.commit import Committer
from adapter.log.sqlite.files import Files
from adapter.log.sqlite.messages import Append, Appended, Refused
from adapter.log.sqlite.reading import open_reader, read_entries
from adapter.log.sqlite.schema import connect_writing
from tests.log.entries import new_entry, quarantined_entry

PARTS = 4


@contextmanager
def committer(path: Path) -> Iterator[Committer]:
    with closing(connect_writing(path, dictionary=b"", busy_timeout=1)) as connection:
        yield Committer(path, connection, Files(path))


def commit(one: Committer, entries: list[NewEntry]) -> list[Receipt]:
    (answer,) = one.commit([Append(entries)]).answers
    assert isinstance(answer, Appended)
    return answer.receipts


def some_entries(chance: random.Random, number: int) -> list[NewEntry]:
    """Entries that share their keys with others, in a request and in several, in all ways in which they may."""
    entries = []
    for _ in range(number):
        strong = chance.choice([None, None, f"s{chance.randrange(40)}"])
        weak = chance.choice([None, f"w{chance.randrange(12)}"])
        session = chance.choice([None, "a", "b"])
        if chance.random() < 0.1:
            known = new_entry(strong, weak)
            keys = {"uid": known.uid, "strong": known.strong, "weak": known.weak, "seconds": known.seconds}
            entries.append(
                quarantined_entry(raw=b"%d" % chance.randrange(5), envelope=chance.choice([b"", b"[{}]"]), **keys)
            )
        else:
            entries.append(new_entry(strong, weak, session=session, source=chance.choice(["one", "other"])))
    return entries


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_stored_while_it_arrives_it_is_stored_as_any_other(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with committer(tmp_path / "one.sqlite") as one, committer(tmp_path / "other.sqlite") as other:
        for _ in range(3):
            parts = [some_entries(chance, chance.randrange(1, 60)) for _ in range(PARTS)]
            large = one.begin_large()
            for part in parts:
                large.add(part)
                if chance.random() < 0.5:
                    between = some_entries(chance, chance.randrange(1, 9))
                    assert commit(one, between) == commit(other, between)
            (answer,) = one.commit([large]).answers
            assert isinstance(answer, Appended)
            assert answer.receipts == commit(other, [entry for part in parts for entry in part])
        assert one.head == other.head
        stored = []
        for name in ("one", "other"):
            with open_reader(tmp_path / f"{name}.sqlite") as reader:
                stored.append(read_entries(reader, 0, limit=10_000))
                position = 0
                while position < one.head:
                    position = check_stretch(reader, position, one.head)
        assert stored[0] == stored[1]


def test_of_two_that_arrive_together_the_second_finds_what_the_first_has_stored(tmp_path: Path) -> None:
    with committer(tmp_path / "log.sqlite") as one:
        entries = [new_entry(f"{number}", f"w{number}") for number in range(50)]
        first, second = one.begin_large(), one.begin_large()
        for large in (first, second):
            large.add(entries)
        answers = [one.commit([large]).answers[0] for large in (first, second)]
        assert [len({receipt.position for receipt in answer.receipts}) for answer in answers] == [50, 1]  # type: ignore[union-attr]
        assert one.head == 50


def test_what_goes_wrong_while_it_arrives_is_told_when_its_turn_comes(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with committer(path) as one:
        commit(one, [new_entry("a")])
        large = one.begin_large()
        with closing(sqlite3.connect(path)) as theirs:
            theirs.execute("BEGIN IMMEDIATE")
            large.add([new_entry("b", source="new")])
            large.add([new_entry("c")])
        (answer,) = one.commit([large]).answers
        assert isinstance(answer, Refused)
        assert "locked" in answer.problem
        assert [receipt.position for receipt in commit(one, [new_entry("b"), new_entry("c")])] == [2, 3]


@pytest.mark.parametrize("is_stale", [False, True])
def test_its_memory_is_free_as_soon_as_it_is_done(tmp_path: Path, is_stale: bool) -> None:
    with committer(tmp_path / "log.sqlite") as one:
        gc.disable()
        try:
            large = one.begin_large()
            large.add([new_entry("a", "w"), new_entry(None, "w"), new_entry(None, "w")])
            if is_stale:
                commit(one, [new_entry("a")])
            freed = weakref.ref(large)
            contents = weakref.ref(large._contents)
            one.commit([large])
            del large
            assert (freed(), contents()) == (None, None)
        finally:
            gc.enable()


def test_one_that_does_not_go_on_leaves_nothing(tmp_path: Path) -> None:
    with committer(tmp_path / "log.sqlite") as one:
        large = one.begin_large()
        large.add([new_entry("a"), new_entry("b")])
        one.drop_large(large)
        assert [receipt.position for receipt in commit(one, [new_entry("b"), new_entry("c")])] == [1, 2]
