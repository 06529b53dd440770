"""Services over one log know of each other, and share the tokens that were made."""

from __future__ import annotations

import asyncio

import pytest

from adapter.errors import ConfigError
from adapter.log.memory import open_memory_log
from adapter.log.protocol import Note
from adapter.neighbours import GONE, Neighbours, open_neighbours, read_announcements
from adapter.tokens import NOTE, make_shared_tokens, read_shared_tokens


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_services_hear_of_each_other_and_when_one_ends() -> None:
    async with open_memory_log() as log, open_neighbours(log, "a", "http://a", lambda: {"keycloak": "1"}) as one:
        async with open_neighbours(log, "b", "http://b", dict) as other:
            await one.say()
            assert [one.others["b"].url, other.others["a"].url] == ["http://b", "http://a"]
            assert other.others["a"].tables == {"keycloak": "1"}
        await one.say()
        assert one.others == {}
        assert list((await read_announcements(log))[0]) == ["a"]
    assert (await read_announcements(log))[0] == {}


async def test_one_without_a_word_is_gone_after_a_while_by_ones_own_clock() -> None:
    clock = Clock()
    async with open_memory_log() as log:
        silent = Neighbours(log, "silent", "http://silent", dict, clock)
        await silent.say()
        one = Neighbours(log, "a", "http://a", dict, clock)
        await one.say()
        clock.now += GONE - 1
        await one.say()
        assert list(one.others) == ["silent"]
        await silent.say()
        clock.now += GONE - 1
        await one.say()
        assert list(one.others) == ["silent"]
        clock.now += GONE
        await one.say()
        assert one.others == {}


async def test_a_neighbour_that_reads_another_version_is_a_warning_that_does_not_say_where_it_is() -> None:
    versions = {"keycloak": "1", "okta": "7"}
    async with open_memory_log() as log:
        one = Neighbours(log, "a", "http://a", lambda: versions, Clock())
        other = Neighbours(log, "b", "http://b", lambda: {"keycloak": "2", "own": "1"}, Clock())
        await other.say()
        await one.say()
        (warning,) = one.warnings()
        assert warning.startswith("mappings: keycloak: version 1 here, and 2 in another service")
        assert "http" not in warning
        versions["keycloak"] = "2"
        assert one.warnings() == []


async def test_a_neighbour_that_keeps_accounts_where_we_do_not_is_a_warning() -> None:
    async with open_memory_log() as log:
        one = Neighbours(log, "a", "http://a", dict, Clock(), people=True)
        older = Neighbours(log, "b", "http://b", dict, Clock())
        same = Neighbours(log, "c", "http://c", dict, Clock(), people=True)
        other = Neighbours(log, "d", "http://d", dict, Clock(), people=False)
        for service in (older, same, one):
            await service.say()
        assert one.warnings() == []
        await other.say()
        await one.say()
        (warning,) = one.warnings()
        assert warning.startswith("[people] enabled is true here, and false in another service")
        assert other.warnings()[0].startswith("[people] enabled is false here, and true in another service")


async def test_all_who_say_it_at_once_are_heard() -> None:
    async with open_memory_log() as log:
        services = [Neighbours(log, str(number), f"http://{number}", dict, Clock()) for number in range(10)]
        await asyncio.gather(*(one.say() for one in services))
        assert len((await read_announcements(log))[0]) == 10


async def test_an_announcement_that_nobody_can_read_is_replaced() -> None:
    async with open_memory_log() as log:
        await log.keep(Note("services", "[", 1))
        async with open_neighbours(log, "a", "http://a", dict):
            assert list((await read_announcements(log))[0]) == ["a"]


async def test_services_that_start_at_once_make_one_set_of_tokens() -> None:
    async with open_memory_log() as log:
        made = await asyncio.gather(
            *(make_shared_tokens(log, admin=True, sources=["keycloak", str(number)]) for number in range(5))
        )
        tokens = await read_shared_tokens(log)
        assert set(tokens.sources) == {"keycloak", "0", "1", "2", "3", "4"}
        for one in made:
            assert one.admin == tokens.admin
            assert one.sources.items() <= tokens.sources.items()


@pytest.mark.parametrize("text", ["", "[]", '{"admin": 1}', '{"sources": []}'])
async def test_a_note_that_holds_no_tokens_is_refused_and_kept(text: str) -> None:
    async with open_memory_log() as log:
        await log.keep(Note(NOTE, text, 1))
        with pytest.raises(ConfigError, match="does not hold tokens"):
            await make_shared_tokens(log, admin=True, sources=[])
        assert await log.noted(NOTE) == Note(NOTE, text, 1)
