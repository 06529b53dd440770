"""Keys of the log: known by their digests alone, by every service over it, until they end or are revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import ConfigError, RequestError
from adapter.keys.live import NOTE, USED, LiveKeys, open_keys
from adapter.keys.stored import StoredKey, digest_of, read_keys, write_keys
from adapter.log.memory import MemoryLog, open_memory_log
from adapter.log.opening import open_store
from adapter.log.protocol import Note
from adapter.settings import KeyGrant, Permission

READER = KeyGrant(name="siem", permissions=frozenset({Permission.READ, Permission.EXPORT}), realms=("eu/acme",))
NOW = 1_700_000_000_000


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    async with open_memory_log() as one:
        yield one


@pytest.fixture
def keys(log: MemoryLog, clock: Clock) -> LiveKeys:
    return LiveKeys(log, {"admin"}, now=clock)


async def test_a_token_says_whose_it_is_and_what_he_may(keys: LiveKeys) -> None:
    key, token = await keys.create(READER, "zoe", None)
    principal = keys.principal(digest_of(token))
    assert principal is not None
    assert (principal.name, principal.permissions, principal.key_id) == ("siem", READER.permissions, key.id)
    assert principal.scope == READER.scope
    assert keys.principal(digest_of(token + "x")) is None


async def test_a_key_is_there_until_it_expires_or_is_revoked(keys: LiveKeys, clock: Clock) -> None:
    ending, _ = await keys.create(READER, "zoe", NOW + 1000)
    lasting, _ = await keys.create(READER.model_copy(update={"name": "other"}), "zoe", None)
    assert (keys.has(ending.id), keys.has(lasting.id)) == (True, True)
    clock.now += 1000
    assert (keys.has(ending.id), keys.has(lasting.id)) == (False, True)
    await keys.revoke("other", "ann")
    assert not keys.has(lasting.id)


async def test_the_log_has_nothing_by_which_anybody_could_call(keys: LiveKeys, log: MemoryLog) -> None:
    _, token = await keys.create(READER, "zoe", None)
    note = await log.noted(NOTE)
    assert note is not None
    secret = token.removeprefix("idpa_")
    assert len(secret) == 43  # 256 bits
    assert secret not in note.text
    assert all(secret.encode() not in (entry.event or b"") for entry in await log.read(0))


async def test_every_change_is_told_with_who_made_it(keys: LiveKeys, log: MemoryLog) -> None:
    await keys.create(READER, "zoe", NOW + 86_400_000)
    await keys.revoke("siem", "ann")
    made, revoked = await log.read(0)
    assert (made.type, revoked.type) == ("system.CONFIG-KEY-CREATED", "system.CONFIG-KEY-REVOKED")
    assert b'"username":"zoe"' in (made.event or b"")
    assert b'"permissions":"export, read"' in (made.event or b"")
    assert b'"limits":"realms eu/acme"' in (made.event or b"")
    assert b'"expires":"2023-11-15T22:13:20.000Z"' in (made.event or b"")
    assert b'"username":"ann"' in (revoked.event or b"")


async def test_a_revoked_key_is_nobodys(keys: LiveKeys) -> None:
    key, token = await keys.create(READER, "zoe", None)
    assert keys.has(key.id)
    await keys.revoke("siem", "zoe")
    assert keys.principal(digest_of(token)) is None
    assert not keys.has(key.id)
    with pytest.raises(RequestError, match="no key 'siem'"):
        await keys.revoke("siem", "zoe")


async def test_a_key_ends_with_its_time(keys: LiveKeys, clock: Clock) -> None:
    _, token = await keys.create(READER, "zoe", NOW + 1000)
    clock.now = NOW + 999
    assert keys.principal(digest_of(token)) is not None
    clock.now = NOW + 1000
    assert keys.principal(digest_of(token)) is None
    assert [one.name for one in keys.all] == ["siem"]  # until somebody takes it away


async def test_no_two_have_one_name(keys: LiveKeys) -> None:
    await keys.create(READER, "zoe", None)
    for name in ("siem", "admin"):
        with pytest.raises(RequestError, match="There already") as refused:
            await keys.create(KeyGrant(name=name), "zoe", None)
        assert refused.value.status == 409


async def test_services_over_one_log_know_what_the_others_changed(log: MemoryLog, clock: Clock) -> None:
    one, other = LiveKeys(log, (), now=clock), LiveKeys(log, (), now=clock)
    _, token = await one.create(READER, "zoe", None)
    assert other.principal(digest_of(token)) is None
    await other.look()
    assert other.principal(digest_of(token)) is not None
    # What one has not seen yet is not undone by its own change.
    _, further = await other.create(KeyGrant(name="second"), "zoe", None)
    await one.create(KeyGrant(name="third"), "zoe", None)
    await other.look()
    assert [key.name for key in other.all] == ["siem", "second", "third"]
    await one.revoke("second", "zoe")
    await other.look()
    assert other.principal(digest_of(further)) is None


async def test_of_many_who_make_keys_at_once_none_is_lost(log: MemoryLog, clock: Clock) -> None:
    services = [LiveKeys(log, (), now=clock) for _ in range(3)]
    made = [service.create(KeyGrant(name=f"key-{number}"), "zoe", None) for number, service in enumerate(services)]
    tokens = [token for _, token in await asyncio.gather(*made)]
    for service in services:
        await service.look()
        assert all(service.principal(digest_of(token)) for token in tokens)


async def test_the_last_use_is_kept_and_the_latest_of_all_services_counts(log: MemoryLog, clock: Clock) -> None:
    one, other = LiveKeys(log, (), now=clock), LiveKeys(log, (), now=clock)
    key, token = await one.create(READER, "zoe", None)
    await other.look()
    assert one.used_at(key) is None
    one.principal(digest_of(token))
    clock.now += 5000
    other.principal(digest_of(token))
    await one.store_used()
    await other.store_used()
    await one.store_used()  # must not set it back
    assert (one.used_at(key), other.used_at(key)) == (NOW + 5000, NOW + 5000)
    note = await log.noted(USED)
    assert note is not None and note.version == 2  # and what has not changed is not written


async def test_a_use_outlasts_the_service(tmp_path: Path, clock: Clock) -> None:
    opening = open_store(f"sqlite:///{tmp_path / 'log.sqlite'}", dictionary=lambda: b"", commit_timeout=30)
    async with opening as log:
        async with open_keys(log, (), now=clock, is_shared=False) as keys:
            _, token = await keys.create(READER, "zoe", None)
            keys.principal(digest_of(token))
        async with open_keys(log, (), now=clock, is_shared=False) as keys:
            [key] = keys.all
            assert keys.used_at(key) == NOW
            assert keys.principal(digest_of(token)) is not None


async def test_a_note_of_another_form_is_refused(log: MemoryLog, keys: LiveKeys) -> None:
    await log.keep(Note(NOTE, '[{"name": "siem"}]', 1))
    with pytest.raises(ConfigError, match="keys"):
        await keys.look()


names = st.text("aZ9", min_size=1, max_size=20)
limits = st.none() | st.lists(names, min_size=1, max_size=3, unique=True).map(tuple)


@given(
    st.lists(
        st.builds(
            StoredKey,
            names,
            st.builds(
                KeyGrant,
                name=names,
                permissions=st.frozensets(st.sampled_from([Permission.READ, Permission.KEYS]), min_size=1),
                realms=limits,
                sources=limits,
                providers=limits,
            ),
            st.binary(min_size=32, max_size=32),
            st.integers(0, 2**40),
            names,
            st.none() | st.integers(0, 2**40),
        ),
        max_size=4,
    )
)
def test_keys_are_read_as_they_were_written(keys: list[StoredKey]) -> None:
    found = read_keys(write_keys(keys))
    assert [(one.id, one.principal, one.digest, one.expires_at) for one in found] == [
        (one.id, one.principal, one.digest, one.expires_at) for one in keys
    ]
