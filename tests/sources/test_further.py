"""Records of several events on their way into the log: what is stored, what is answered, and what is known again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.log.memory import open_memory_log
from adapter.log.protocol import Raw
from tests.mapping.acme_also import LOCKED, RAW
from tests.sources.several import FORMER, NO_KEY, SEVERAL, Bench


async def test_a_record_counts_once_and_has_the_uid_of_its_first_event() -> None:
    async with open_memory_log() as log:
        bench = Bench(log)
        answer = await bench.take(LOCKED, {"kind": "unknown", "id": "3"}, {**RAW, "kind": "in", "id": "4"}, RAW)
        assert answer[:4] == (3, 0, 1, 0)
        stored = await bench.stored()
        assert [also for _, also, _ in stored] == [None, "report", "lock", None, None, "report"]
        first = [uid for _, also, uid in stored if also is None]
        assert [uid for uid in answer.uids if uid in first] == first
        assert len(answer.uids) == 4
        again = await bench.take(LOCKED, {"kind": "unknown", "id": "3"}, {**RAW, "kind": "in", "id": "4"}, RAW)
        assert (again[:4], again.uids) == ((0, 4, 0, 0), answer.uids)
        assert await bench.stored() == stored


async def test_each_entry_has_the_record_as_it_was_sent() -> None:
    async with open_memory_log() as log:
        bench = Bench(log)
        await bench.take(LOCKED)
        assert [await log.raw(position) for position in (1, 2, 3)] == 3 * [
            Raw(orjson.dumps(LOCKED), "application/json", b"")
        ]


async def test_equal_records_of_one_body_are_as_many_and_in_another_body_copies() -> None:
    weak = {name: value for name, value in RAW.items() if name != "id"}
    async with open_memory_log() as log:
        bench = Bench(log)
        assert (await bench.take(weak, weak, weak))[:2] == (3, 0)
        assert (await bench.take(weak, weak))[:2] == (0, 2)
        assert (await bench.take(weak, weak, weak, weak))[:2] == (1, 3)
        assert Counter(also for _, also, _ in await bench.stored()) == {None: 4, "report": 4}


async def test_a_record_without_keys_is_new_each_time_with_all_its_events() -> None:
    async with open_memory_log() as log:
        bench = Bench(log, NO_KEY)
        assert (await bench.take(RAW))[:2] == (await bench.take(RAW))[:2] == (1, 0)
        stored = await bench.stored()
        assert [also for _, also, _ in stored] == [None, "report", None, "report"]
        assert len({uid for _, _, uid in stored}) == 4


async def test_a_record_that_comes_again_gets_the_events_that_its_row_makes_since() -> None:
    async with open_memory_log() as log:
        bench = Bench(log, FORMER)
        await bench.take(LOCKED)
        bench.tables["acme"] = SEVERAL
        assert (await bench.take(LOCKED))[:2] == (0, 1)
        assert [also for _, also, _ in await bench.stored()] == [None, "report", "lock"]


USERS = ("anna", "ben", "carl", "dora")
#: Of a user: whether it is the copy with an id.
COPIES = st.tuples(st.sampled_from(USERS), st.booleans())
BODIES = st.lists(st.lists(COPIES, max_size=4, unique_by=lambda one: one[0]), max_size=6)


def record(user: str, has_id: bool) -> dict[str, Any]:
    found = {**(LOCKED if user in USERS[:2] else RAW), "user": user, "id": user}
    return found if has_id else {name: value for name, value in found.items() if name != "id"}


@settings(max_examples=150, deadline=None)
@given(BODIES)
def test_a_record_in_any_mixture_of_copies_gives_each_of_its_events_once(
    bodies: Sequence[Sequence[tuple[str, bool]]],
) -> None:
    async def check() -> None:
        async with open_memory_log() as log:
            bench = Bench(log)
            for body in bodies:
                answer = await bench.take(*(record(*one) for one in body))
                assert len(answer.uids) == len(body) == sum(answer[:4])
            came = {user for body in bodies for user, _ in body}
            names = {user: [None, "report", *(["lock"] if user in USERS[:2] else [])] for user in came}
            stored = Counter((user, also) for user, also, _ in await bench.stored())
            assert stored == Counter((user, also) for user in came for also in names[user])

    asyncio.run(check())
