"""Secrets at rest: sealed with a key that is not in the log, and never with another one than the one that counts."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from adapter.errors import ConfigError
from adapter.log.memory import MemoryLog, open_memory_log
from adapter.log.protocol import Note
from adapter.sealing import FILE, NOTE, Sealing, SealingError, fingerprint, open_sealing, read_key

KEYS = [base64.b64encode(bytes([number]) * 32).decode() for number in range(3)]
TREE = {"name": "soc", "secret": [SecretStr("whsec_one"), SecretStr("ünd zwei")], "auth": {"password": SecretStr("")}}


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    async with open_memory_log() as log:
        yield log


async def opened(
    log: MemoryLog, folder: Path, key: str | None = None, former: str | None = None, *, is_shared: bool = False
) -> Sealing:
    return await open_sealing(log, folder, key, former, is_shared=is_shared)


async def keep(log: MemoryLog, sealing: Sealing, name: str = "sink soc", tree: Any = TREE) -> None:
    await sealing.prepare()
    await log.keep(Note(name, json.dumps(sealing.seal(name, tree)), 1))


async def kept(log: MemoryLog, name: str = "sink soc") -> Any:
    note = await log.noted(name)
    assert note is not None
    return json.loads(note.text)


async def test_what_is_sealed_opens_and_shows_nothing(log: MemoryLog, tmp_path: Path) -> None:
    sealing = await opened(log, tmp_path)
    await keep(log, sealing)
    text = json.dumps(await kept(log))
    assert "soc" in text
    assert "whsec" not in text
    assert "zwei" not in text
    assert sealing.open("sink soc", await kept(log)) == TREE
    again = await opened(log, tmp_path)
    assert again.open("sink soc", await kept(log)) == TREE


async def test_the_same_secret_is_sealed_otherwise_each_time(log: MemoryLog, tmp_path: Path) -> None:
    sealing = await opened(log, tmp_path)
    one, other = sealing.seal("a", SecretStr("x")), sealing.seal("a", SecretStr("x"))
    assert one != other


async def test_a_secret_opens_at_its_place_alone(log: MemoryLog, tmp_path: Path) -> None:
    sealing = await opened(log, tmp_path)
    sealed = sealing.seal("sink soc", TREE)
    one, two = sealed["secret"]
    for moved in ({**sealed, "secret": [two, one]}, {**sealed, "auth": {"password": one}}):
        with pytest.raises(SealingError, match="was changed in the log, or sealed for another place"):
            sealing.open("sink soc", moved)
    with pytest.raises(SealingError, match="secret/0 was changed"):
        sealing.open("sink other", sealed)
    (label, text) = next(iter(one.items()))
    turned = text[:-4] + ("A" if text[-4] != "A" else "B") + text[-3:]
    with pytest.raises(SealingError):
        sealing.open("sink soc", {**sealed, "secret": [{label: turned}, two]})


async def test_the_generated_key_is_its_owners_alone(log: MemoryLog, tmp_path: Path) -> None:
    await opened(log, tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert len(read_key((tmp_path / FILE).read_text())) == 32


async def test_a_shared_log_needs_a_key_of_the_settings_and_says_how_to_make_one(
    log: MemoryLog, tmp_path: Path
) -> None:
    sealing = await opened(log, tmp_path, is_shared=True)
    assert not (tmp_path / FILE).exists()
    with pytest.raises(SealingError, match=r"set \[data\] secret_key, the same for every adapter.*openssl rand"):
        await sealing.prepare()
    with pytest.raises(SealingError):
        sealing.seal("sink soc", TREE)
    one, other = [await opened(log, tmp_path / name, KEYS[0], is_shared=True) for name in "ab"]
    await keep(log, one)
    assert other.open("sink soc", await kept(log)) == TREE


async def test_with_another_key_nothing_is_opened_sealed_or_overwritten(log: MemoryLog, tmp_path: Path) -> None:
    await keep(log, await opened(log, tmp_path, KEYS[0]))
    before = await log.notes("")
    wrong = await opened(log, tmp_path, KEYS[1])
    assert wrong.problem is not None
    assert fingerprint(read_key(KEYS[0])) in wrong.problem
    assert KEYS[0] not in wrong.problem
    with pytest.raises(SealingError, match="sealed with a key that is not here"):
        wrong.open("sink soc", await kept(log))
    with pytest.raises(SealingError, match="old_secret_key"):
        await wrong.prepare()
    assert await log.notes("") == before


async def test_a_lost_key_is_not_made_anew_while_something_is_sealed_with_it(log: MemoryLog, tmp_path: Path) -> None:
    await keep(log, await opened(log, tmp_path))
    (tmp_path / FILE).unlink()
    lost = await opened(log, tmp_path)
    assert not (tmp_path / FILE).exists()
    assert "is lost" in (lost.problem or "")
    with pytest.raises(SealingError, match="Put it back"):
        await lost.prepare()
    await log.drop("sink soc", 1)
    anew = await opened(log, tmp_path)
    await keep(log, anew)
    assert anew.open("sink soc", await kept(log)) == TREE


async def test_a_key_is_changed_by_giving_both(log: MemoryLog, tmp_path: Path) -> None:
    old = await opened(log, tmp_path, KEYS[0])
    for name in ("sink soc", "sink other", "sink-standing soc"):
        await keep(log, old, name)
    await log.keep(Note("mapping-text", "not JSON", 1))
    new = await opened(log, tmp_path, KEYS[1], KEYS[0])
    assert new.problem is None
    alone = await opened(log, tmp_path, KEYS[1])
    for name in ("sink soc", "sink other", "sink-standing soc"):
        assert alone.open(name, await kept(log, name)) == TREE
    note = await log.noted(NOTE)
    assert note is not None
    assert note.text == fingerprint(read_key(KEYS[1]))


async def test_a_change_of_the_key_that_was_broken_off_is_gone_on_with(log: MemoryLog, tmp_path: Path) -> None:
    old = await opened(log, tmp_path, KEYS[0])
    await keep(log, old, "sink a")
    await keep(log, old, "sink b")
    both = await opened(log, tmp_path / "elsewhere", KEYS[1], KEYS[0])
    # As if it had been killed when only one was sealed anew, and the note of the key not written.
    note, sealed = await log.noted(NOTE), old.seal("sink b", TREE)
    assert note is not None
    await log.keep(Note(NOTE, fingerprint(read_key(KEYS[0])), note.version + 1))
    stored = await log.noted("sink b")
    assert stored is not None
    await log.keep(Note("sink b", json.dumps(sealed), stored.version + 1))
    assert both.problem is None
    again = await opened(log, tmp_path / "elsewhere", KEYS[1], KEYS[0])
    assert again.problem is None
    alone = await opened(log, tmp_path / "elsewhere", KEYS[1])
    assert [alone.open(name, await kept(log, name)) for name in ("sink a", "sink b")] == [TREE, TREE]


async def test_the_generated_key_is_the_former_one_when_a_key_is_set(log: MemoryLog, tmp_path: Path) -> None:
    await keep(log, await opened(log, tmp_path))
    assert (await opened(log, tmp_path, KEYS[0])).open("sink soc", await kept(log)) == TREE
    (tmp_path / FILE).unlink()
    assert (await opened(log, tmp_path, KEYS[0])).open("sink soc", await kept(log)) == TREE


@pytest.mark.parametrize("text", ["", "x", KEYS[0][:-4], "not base64 at all!", base64.b64encode(bytes(31)).decode()])
def test_a_key_that_is_none_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="the base64 of 32 random bytes; make one: openssl") as refused:
        read_key(text)
    assert not text or text not in str(refused.value)


async def test_a_file_that_holds_no_key_is_refused(log: MemoryLog, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("nothing\n")
    with pytest.raises(ConfigError, match=f"{FILE}: a key is the base64"):
        await opened(log, tmp_path)
