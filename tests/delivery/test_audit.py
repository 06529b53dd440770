from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from adapter.delivery.audit import Audit, Audits, AuditState, open_audits
from adapter.delivery.loop import reader_name
from adapter.delivery.select import Selection
from adapter.errors import RequestError
from adapter.filter import Filter
from adapter.log.memory import MemoryLog, open_memory_log
from adapter.log.protocol import Held, Removal, Settlement
from adapter.mapping.catalogue import Catalogue, CatalogueFile
from adapter.sinks.protocol import DELIVERED, Answer, Later, Never
from adapter.sinks.settings import SinkSettings
from tests.delivery.parts import CATALOGUE, Told, append, delivering, new_entry, until
from tests.delivery.test_order import append_users, done, ordering, user_of
from tests.delivery.virtual_time import run_virtual

READER = reader_name("soc")
LOGINS: dict[str, object] = {"type": ["access.LOGIN"]}


@asynccontextmanager
async def auditing(log: MemoryLog, filter: dict[str, object] | None = None) -> AsyncIterator[Audits]:
    settings = SinkSettings.model_validate({"name": "soc", "kind": "told"})
    selection = Selection(Filter.from_settings(filter or {}, CATALOGUE))
    async with open_audits(log, lambda: {"soc": settings}, lambda _: selection) as audits:
        yield audits


async def audited(log: MemoryLog, filter: dict[str, object] | None = None) -> Audit:
    async with auditing(log, filter) as audits:
        await audits.start("soc", rate=0)
        await until(lambda: audits.look("soc").state is not AuditState.RUNNING)
        return audits.look("soc")


async def change(log: MemoryLog, **fields: Any) -> None:
    """Make the sink's books say something else."""
    reader = log._memory.readers[READER]
    reader.progress = replace(reader.progress, **fields)


async def delivered(log: MemoryLog, **how: Any) -> None:
    """Sixty events, twenty of them logins: one of those is held, one dead."""
    types = ["access.LOGIN", "access.LOGOUT", "admin.USER-CREATE"]
    await log.append([new_entry(number, types[number % 3]) for number in range(1, 61)])
    answers: dict[int, Answer] = {3: Later("400"), 6: Never("too odd")}
    sink = Told(lambda entry: answers.get(entry.position, DELIVERED))
    async with delivering(log, sink, retry=[1e6], **how) as delivery:
        await done(delivery, held=1)


def test_counters_that_are_right_add_up() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await delivered(log, filter=LOGINS)
            audit = await audited(log, LOGINS)
            assert (audit.state, audit.differences, audit.notes) == (AuditState.DONE, [], [])
            assert (audit.begin, audit.end, audit.position) == (0, 60, 60)
            assert (audit.matched, audit.found, audit.rows) == (20, 20, 2)

    run_virtual(main())


@pytest.mark.parametrize(
    ("fields", "what", "counted", "found"),
    [
        ({"matched": 21, "delivered": 19}, "matched", 21, 20),
        ({"matched": 18, "delivered": 16}, "matched", 18, 20),
        ({"delivered": 17}, "matched = delivered + held + dead + skipped", 20, 19),
        ({"behind": 3, "delivered": 15}, "held behind blocked keys", 3, 0),
    ],
)
def test_counters_that_are_wrong_are_named(fields: dict[str, int], what: str, counted: int, found: int) -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await delivered(log, filter=LOGINS)
            await change(log, **fields)
            (difference,) = (await audited(log, LOGINS)).differences
            assert (difference.what, difference.counted, difference.found) == (what, counted, found)

    run_virtual(main())


def test_rows_of_what_the_filter_does_not_take_and_of_what_is_ahead_are_named() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await delivered(log, filter=LOGINS)
            await change(log, delivered=14)
            rows = [Held(position, 1, 5, "503") for position in (4, 5, 61, 62)]
            await log.settle(Settlement(READER, 1, 60, hold=rows))
            found = {one.what: one.positions for one in (await audited(log, LOGINS)).differences}
            assert found == {
                "rows of entries that the filter does not take": [4, 5],
                "rows beyond the sink's place": [61, 62],
            }

    run_virtual(main())


def test_what_was_held_when_the_epoch_began_counts_apart() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await delivered(log)
            async with delivering(log, Told(), filter=LOGINS, retry=[1e6]):
                await append(log, 5, first=61)
                await asyncio.sleep(1)
            audit = await audited(log, LOGINS)
            assert audit.differences == []
            assert (audit.begin, audit.carried, audit.matched, audit.epoch) == (60, 2, 5, 2)

    run_virtual(main())


def test_what_was_removed_is_stated() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await delivered(log, filter=LOGINS)
            await log.remove(Removal(0, 30, (), 30, log.head))
            audit = await audited(log, LOGINS)
            assert audit.differences == []
            assert (audit.matched, audit.found, audit.removed, audit.rows_removed) == (20, 10, 30, 2)
            # More than that cannot have been among them.
            await change(log, matched=41, delivered=39)
            assert [one.what for one in (await audited(log, LOGINS)).differences] == ["matched"]

    run_virtual(main())


def test_what_waits_behind_blocked_keys_is_counted_again() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await append_users(log, ["a", "b", "c"] * 20)
            sink = Told(lambda entry: DELIVERED if user_of(entry) == "c" else Later("400"))
            async with ordering(log, sink, retry=[1e6]) as delivery:
                await done(delivery, held=40)
                audit = await audited(log)
            assert (audit.differences, audit.notes) == ([], [])
            await change(log, behind=37, delivered=21)
            (difference,) = (await audited(log)).differences
            assert (difference.what, difference.counted, difference.found) == ("held behind blocked keys", 37, 38)

    run_virtual(main())


def test_a_sink_that_counts_by_another_filter_is_not_audited() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await delivered(log, filter=LOGINS)
            async with auditing(log, {"type": ["access.*"]}) as audits:
                with pytest.raises(RequestError) as refused:
                    await audits.start("soc")
                assert refused.value.status == 409
                with pytest.raises(RequestError, match=r"soc") as refused:
                    await audits.start("nobody")
                assert refused.value.status == 404

    run_virtual(main())


def test_an_audit_is_cancelled() -> None:
    async def main() -> None:
        async with open_memory_log() as log:
            await delivered(log)
            async with auditing(log) as audits:
                await audits.start("soc", rate=1)
                await asyncio.sleep(1)
                with pytest.raises(RequestError):
                    await audits.start("soc")
                assert (await audits.stop("soc")).state is AuditState.CANCELLED
                await audits.start("soc", rate=0)

    run_virtual(main())


def test_a_sink_that_is_at_work_adds_up() -> None:
    async def main() -> None:
        async with open_memory_log() as log, ordering(log, Told(), order_by=None) as delivery:
            for number in range(50):
                await append(log, 10, first=10 * number + 1)
                await asyncio.sleep(0.01)
            assert (await audited(log)).differences == []
            await done(delivery)

    run_virtual(main())


def test_another_name_of_a_type_that_is_asked_for_begins_an_epoch() -> None:
    def text(aliases: dict[str, str], **filter: object) -> str:
        types = {"LOGIN": {"group": "g", "kind": "action", "meaning": "m", "sentence": "s"}}
        file = CatalogueFile.model_validate({"groups": {"g": "g"}, "types": types, "aliases": aliases})
        return Selection(Filter.from_settings(filter, Catalogue(file))).text

    assert text({}, type="access.LOGIN") != text({"SIGN_IN": "LOGIN"}, type="access.LOGIN")
    # Both names are meant anyway.
    assert text({}, type="access.*") == text({"SIGN_IN": "LOGIN"}, type="access.*")
    assert text({}, client="web") == text({"SIGN_IN": "LOGIN"}, client="web")
