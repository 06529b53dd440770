"""Where the key that signs tokens is kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from adapter.errors import ConfigError
from adapter.folder import TOKEN_KEY
from adapter.log.memory import open_memory_log
from adapter.log.protocol import Note
from adapter.signing_keys import NOTE, SigningKeys
from adapter.sinks.token_key import make_token_key


def keys(folder: Path, *, file: Path | None = None, told: list[str] | None = None) -> SigningKeys:
    heard: list[str] = [] if told is None else told
    return SigningKeys(file, folder, None, heard.append)


def names(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


async def test_a_key_is_made_when_it_is_needed_first_and_outlives_the_service(tmp_path: Path) -> None:
    first = keys(tmp_path)
    assert await first.present() is None
    assert names(tmp_path) == []
    made = await first.get()
    assert (tmp_path / TOKEN_KEY).stat().st_mode & 0o777 == 0o600
    found = await keys(tmp_path).present()
    assert found is not None
    assert found.public == made.public


async def test_who_asks_at_the_same_time_gets_the_same_key(tmp_path: Path) -> None:
    one = keys(tmp_path)
    assert len({id(key) for key in await asyncio.gather(*(one.get() for _ in range(5)))}) == 1


async def test_services_over_one_log_sign_with_one_key(tmp_path: Path) -> None:
    async with open_memory_log() as log:
        services = [SigningKeys(None, tmp_path, log, lambda secret: None) for _ in range(3)]
        assert [await one.present() for one in services] == [None] * 3
        made = await asyncio.gather(*(one.get() for one in services))
        assert len({key.id for key in made}) == 1
        note = await log.noted(NOTE)
        assert note is not None
        assert note.version == 1
    assert names(tmp_path) == []


async def test_its_private_parts_are_known_as_secrets(tmp_path: Path) -> None:
    told: list[str] = []
    made = await keys(tmp_path, told=told).get()
    assert str(made.private["d"]) in told
    assert not [secret for secret in told if secret in json.dumps(made.public)]


async def test_a_key_of_the_settings_is_taken_as_it_is(tmp_path: Path) -> None:
    key = make_token_key()
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key.private))
    assert (await keys(tmp_path, file=file).get()).public == key.public
    assert names(tmp_path) == ["key.json"]


async def test_what_is_no_key_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / TOKEN_KEY).write_text('{"kty":"RSA","d":"hunter22"}')
    with pytest.raises(ConfigError, match=rf"{TOKEN_KEY}: must be a private RSA key.*to have another one made") as one:
        await keys(tmp_path).get()
    with pytest.raises(ConfigError, match=r"signing\.key_file: .*gone\.pem cannot be read") as other:
        await keys(tmp_path, file=tmp_path / "gone.pem").get()
    async with open_memory_log() as log:
        await log.keep(Note(NOTE, "hunter22", 1))
        with pytest.raises(ConfigError, match="the note 'token-key' of the log: must be a private RSA key") as third:
            await SigningKeys(None, tmp_path, log, lambda secret: None).get()
    assert not [caught for caught in (one, other, third) if "hunter22" in str(caught.value)]
