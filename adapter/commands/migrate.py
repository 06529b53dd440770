"""``idp-adapter store migrate``: carry a log from one engine to another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec
import orjson

from adapter import neighbours, signing_keys, tokens
from adapter.errors import ConfigError
from adapter.folder import TOKEN_KEY, read_private_key, read_tokens, write_private_key, write_tokens
from adapter.log.opening import check_url, file_of, open_new_log, open_whole
from adapter.log.protocol import Note
from adapter.log.transfer import Progress, Whole, carry
from adapter.tokens import Tokens, tokens_from_json

#: Seconds after which a service that runs has said so again.
_SAID = neighbours.SAYING + 1


async def migrate(from_: str, to: str, progress: Progress) -> int:
    """Carry the log of one URL to another, with the generated tokens and key; the number of entries.

    Raises:
        ConfigError: a URL is none, or a service has the log open.
        StoreError: one of the logs cannot be read or written, or they differ in the end.
    """
    for name, url in (("--from", from_), ("--to", to)):
        try:
            check_url(url)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
    if from_ == to:
        raise ConfigError("--to: is the log that is to be carried; name another place")
    async with open_whole(from_) as source:
        await _refuse_services(source)
        known = await _tokens(from_, source)
        adding = []
        target_file = file_of(to)
        has_tokens = known.admin is not None or bool(known.sources)
        if target_file is None and has_tokens:
            adding = [Note(tokens.NOTE, orjson.dumps(known.as_json()).decode(), 1)]
        key = await _token_key(from_, source)
        if target_file is None and key is not None:
            adding.append(Note(signing_keys.NOTE, orjson.dumps(key).decode(), 1))
        async with open_new_log(to, source.dictionary) as target:
            if target_file is not None and has_tokens:
                write_tokens(target_file.parent, known)
            if target_file is not None and key is not None:
                write_private_key(target_file.parent, TOKEN_KEY, key)
            leaving = {neighbours.NOTE, tokens.NOTE, signing_keys.NOTE}
            return await carry(source, target, progress, leaving=leaving, adding=adding)


async def _refuse_services(source: Whole) -> None:
    """
    Raises:
        ConfigError: a service has the log open.
    """
    before = await _announced(source)
    if not before:
        return
    # Of one that was killed the last word stays.
    await asyncio.sleep(_SAID)
    running = [url for url, count in (await _announced(source)).items() if before.get(url) != count]
    if running:
        raise ConfigError(f"--from: a service has the log open ({running[0]}); stop all of them first")


async def _announced(source: Whole) -> Mapping[str, int]:
    """Where services said that they listen, and how often each of them said so."""
    for note in (await source.rest()).notes:
        if note.name == neighbours.NOTE:
            try:
                announced = msgspec.json.decode(note.text, type=dict[str, neighbours.Announcement])
            except msgspec.MsgspecError:
                return {}
            return {one.url: one.count for one in announced.values()}
    return {}


async def _tokens(url: str, source: Whole) -> Tokens:
    """The tokens that were generated for a log.

    Raises:
        ConfigError: what is kept of them is not what this program wrote.
    """
    file = file_of(url)
    if file is not None:
        return read_tokens(Path(file).parent)
    for note in (await source.rest()).notes:
        if note.name == tokens.NOTE:
            try:
                return tokens_from_json(orjson.loads(note.text))
            except ValueError:
                raise ConfigError(f"--from: the note {tokens.NOTE!r} does not hold tokens") from None
    return Tokens(None, {})


async def _token_key(url: str, source: Whole) -> dict[str, object] | None:
    """The private key that was made for a log, to sign tokens to receivers; ``None``: none was.

    Raises:
        ConfigError: what is kept of it is not what this program wrote.
    """
    file = file_of(url)
    if file is not None:
        return read_private_key(Path(file).parent, TOKEN_KEY)
    for note in (await source.rest()).notes:
        if note.name == signing_keys.NOTE:
            try:
                key: dict[str, object] = orjson.loads(note.text)
            except ValueError:
                raise ConfigError(f"--from: the note {signing_keys.NOTE!r} does not hold a key") from None
            return key
    return None
