"""Sessions of browsers: theirs who signed in, with what those may at the moment, until they end."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapter.access import ADMIN, Access
from adapter.errors import ConfigError
from adapter.keys.live import LiveKeys
from adapter.keys.sessions import LASTS, LINK_LASTS, MOST_OF_PARENT, NOTE, Sessions
from adapter.keys.stored_sessions import Parent
from adapter.log.memory import MemoryLog, open_memory_log
from adapter.log.opening import open_store
from adapter.log.protocol import Note, Store
from adapter.principal import Person, Principal
from adapter.settings import KeyGrant, Permission
from tests.keys.test_live import NOW, Clock

TOKEN = "admin-token"
EVERYTHING = Principal(ADMIN, frozenset(Permission))
READER = KeyGrant(name="siem", permissions=frozenset({Permission.READ}), realms=("eu/acme",))


class Service:
    """What of a service over a log knows who is who."""

    def __init__(self, log: Store, clock: Clock, token: str = TOKEN, *, is_shared: bool = False) -> None:
        self.keys = LiveKeys(log, {ADMIN}, now=clock)
        self.sessions = Sessions(log, now=clock, is_shared=is_shared)
        self.access = Access([(token, EVERYTHING)], keys=self.keys, sessions=self.sessions)

    async def sign_in(self, token: str = TOKEN) -> tuple[str, str]:
        """Id and token of a session."""
        parent, principal = self.access.parent(token), self.access.principal(token)
        assert parent is not None and principal is not None
        session, made = await self.sessions.open(parent, principal.name, "key")
        return session.id, made

    async def who(self, token: str) -> Principal | None:
        await self.access.learn(token)
        return self.access.principal(token)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    async with open_memory_log() as one:
        yield one


@pytest.fixture
def service(log: MemoryLog, clock: Clock) -> Service:
    return Service(log, clock)


async def test_a_session_may_what_its_parent_may(service: Service) -> None:
    id, token = await service.sign_in()
    found = await service.who(token)
    assert found is not None
    assert (found.name, found.permissions, found.session_id) == (ADMIN, EVERYTHING.permissions, id)
    assert await service.who(token + "x") is None
    _, key = await service.keys.create(READER, ADMIN, None)
    _, token = await service.sign_in(key)
    found = await service.who(token)
    assert found is not None
    assert (found.name, found.permissions, found.scope) == ("siem", READER.permissions, READER.scope)


async def test_it_lasts_for_eight_hours(service: Service, clock: Clock) -> None:
    _, token = await service.sign_in()
    clock.now += LASTS * 1000 - 1
    found = await service.who(token)
    assert found is not None and not service.access.is_revoked(found)
    clock.now += 1
    assert await service.who(token) is None
    assert service.access.is_revoked(found)  # what is being written to it ends
    assert service.sessions.all == []


async def test_it_is_nobodys_once_its_key_is_revoked_or_has_ended(service: Service, clock: Clock) -> None:
    _, key = await service.keys.create(READER, ADMIN, None)
    _, token = await service.sign_in(key)
    found = await service.who(token)
    assert found is not None and not service.access.is_revoked(found)
    await service.keys.revoke("siem", ADMIN)
    assert await service.who(token) is None
    assert service.access.is_revoked(found)
    # Nor does it come back with a key of the same name.
    _, key = await service.keys.create(READER, ADMIN, clock.now + 1000)
    assert await service.who(token) is None
    _, token = await service.sign_in(key)
    assert await service.who(token) is not None
    clock.now += 1000
    assert await service.who(token) is None


async def test_it_is_nobodys_once_the_settings_have_another_token_or_none(log: MemoryLog, clock: Clock) -> None:
    _, token = await Service(log, clock).sign_in()
    again = Service(log, clock)
    await again.sessions.look()
    assert await again.who(token) is not None
    other = Service(log, clock, "another-token")
    await other.sessions.look()
    assert await other.who(token) is None
    without = Access([], keys=again.keys, sessions=again.sessions)
    await without.learn(token)
    assert without.principal(token) is None


async def test_it_may_no_more_than_its_key_of_the_settings_may_now(log: MemoryLog, clock: Clock) -> None:
    service = Service(log, clock)
    _, token = await service.sign_in()
    less = Principal(ADMIN, frozenset({Permission.READ}))
    access = Access([(TOKEN, less)], keys=service.keys, sessions=service.sessions)
    found = access.principal(token)
    assert found is not None and found.permissions == less.permissions


async def test_the_log_has_nothing_by_which_anybody_could_call_or_guess_a_token(
    service: Service, log: MemoryLog
) -> None:
    _, token = await service.sign_in()
    note = await log.noted(NOTE)
    assert note is not None
    assert token.removeprefix("idps_") not in note.text
    # The administrator's token may be one that a person made up: no digest of it stands there.
    assert hashlib.sha256(TOKEN.encode()).hexdigest() not in note.text


async def test_signing_out_ends_it_and_both_are_told(service: Service, log: MemoryLog) -> None:
    id, token = await service.sign_in()
    found = await service.who(token)
    assert found is not None
    await service.sessions.end(id, ADMIN)
    assert await service.who(token) is None
    assert service.access.is_revoked(found)
    assert [entry.type for entry in await log.read(0)] == ["system.CONSOLE-SIGNED-IN", "system.CONSOLE-SIGNED-OUT"]
    assert await service.sessions.end(id, ADMIN) is None


async def test_no_session_and_no_link_is_made_out_of_a_session(service: Service) -> None:
    _, token = await service.sign_in()
    assert service.access.parent(token) is None


async def test_a_link_becomes_a_session_once(service: Service, clock: Clock) -> None:
    parent = service.access.parent(TOKEN)
    assert parent is not None
    link, token = await service.sessions.make_link(parent, ADMIN)
    # It is no session itself.
    assert await service.who(token) is None
    assert service.sessions.all == []
    found = service.access.parent_of(link, token)
    assert found is not None
    made = await asyncio.gather(*(service.sessions.use_link(link, found) for _ in range(5)))
    [(_, session)] = [one for one in made if one is not None]
    assert await service.who(session) is not None
    late, token = await service.sessions.make_link(parent, ADMIN)
    clock.now += LINK_LASTS * 1000
    assert service.sessions.find(token) is None
    assert await service.sessions.use_link(late, found) is None


async def test_the_oldest_of_who_has_too_many_give_way(service: Service) -> None:
    _, key = await service.keys.create(READER, ADMIN, None)
    _, other = await service.sign_in(key)
    tokens = [(await service.sign_in())[1] for _ in range(MOST_OF_PARENT + 3)]
    known = [await service.who(one) is not None for one in tokens]
    assert known == [False] * 3 + [True] * MOST_OF_PARENT
    assert await service.who(other) is not None


async def test_what_is_over_is_not_kept(service: Service, log: MemoryLog, clock: Clock) -> None:
    await service.sign_in()
    clock.now += LASTS * 1000
    id, _ = await service.sign_in()
    note = await log.noted(NOTE)
    assert note is not None
    assert note.text.count('"id"') == 1 and id in note.text


async def test_another_service_over_the_log_knows_it_at_once(log: MemoryLog, clock: Clock) -> None:
    one, other = (Service(log, clock, is_shared=True) for _ in range(2))
    id, token = await one.sign_in()
    assert await other.who(token) is not None
    await one.sessions.end(id, ADMIN)
    await other.sessions.look()
    assert await other.who(token) is None


async def test_many_sign_in_at_the_same_time(log: MemoryLog, clock: Clock) -> None:
    services = [Service(log, clock, is_shared=True) for _ in range(2)]
    made = await asyncio.gather(*(one.sign_in() for one in services for _ in range(20)))
    for service in services:
        assert [await service.who(token) is not None for _, token in made] == [True] * 40


async def test_many_sign_in_at_one_service_while_commits_take_their_time(tmp_path: Path, clock: Clock) -> None:
    """Of those who wait for a disk at the same time one would get through, and most would be refused."""
    async with open_store(f"sqlite:///{tmp_path / 'log.sqlite'}", dictionary=lambda: b"", commit_timeout=30) as log:
        service = Service(log, clock)
        made = await asyncio.gather(*(service.sign_in() for _ in range(40)))
        assert [await service.who(token) is not None for _, token in made] == [True] * 40


async def test_they_survive_a_restart(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:///{tmp_path / 'log.sqlite'}"
    async with open_store(url, dictionary=lambda: b"", commit_timeout=30) as log:
        _, token = await Service(log, clock).sign_in()
    async with open_store(url, dictionary=lambda: b"", commit_timeout=30) as log:
        service = Service(log, clock)
        await service.sessions.look()
        assert await service.who(token) is not None


async def test_what_another_program_wrote_is_refused(log: MemoryLog, clock: Clock) -> None:
    await log.keep(Note(NOTE, '[{"id": 1}]', 1))
    with pytest.raises(ConfigError, match="'sessions' of the log is not a list of sessions"):
        await Sessions(log, now=clock, is_shared=False).look()


async def test_a_clock_that_was_put_back_makes_no_session_last_longer(service: Service, clock: Clock) -> None:
    _, token = await service.sign_in()
    clock.now = NOW - 3_600_000
    assert await service.who(token) is None


def test_two_people_of_one_issuer_are_two_parents() -> None:
    one, other = (Parent("issuer", "https://id.example", person=Person(id)) for id in ("1", "2"))
    assert one.key != other.key
