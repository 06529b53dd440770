"""The tokens that are generated where none are set: kept in the data folder, or, where several services share a log, in
the log, so that each of them takes them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from adapter.errors import ConfigError, NoteChanged
from adapter.log.protocol import Note, Notes

#: Under which name a shared log keeps them.
NOTE = "tokens"


@dataclass(slots=True, frozen=True)
class Tokens:
    """The tokens that were generated, because none were set."""

    #: The administrator's; ``None`` if it is set elsewhere.
    admin: str | None
    #: By the key of the source.
    sources: dict[str, str]

    def with_missing(self, *, admin: bool, sources: Sequence[str]) -> Tokens:
        """These, with those that are missing made: the administrator's if ``admin``, and one for each key in
        ``sources``."""
        return Tokens(
            admin=self.admin or (secrets.token_urlsafe(24) if admin else None),
            sources=self.sources | {key: secrets.token_urlsafe(24) for key in sources if key not in self.sources},
        )

    def as_json(self) -> dict[str, object]:
        """As they are kept."""
        return {"admin": self.admin, "sources": self.sources}


def tokens_from_json(stored: object) -> Tokens:
    """Tokens as they were kept.

    Raises:
        ValueError: these are none.
    """
    admin, sources = (stored.get("admin"), stored.get("sources", {})) if isinstance(stored, dict) else (None, None)
    if not isinstance(sources, dict) or not isinstance(admin, str | None):
        raise ValueError("does not hold tokens")
    return Tokens(admin, {str(key): str(token) for key, token in sources.items()})


async def read_shared_tokens(notes: Notes) -> Tokens:
    """The tokens that were generated for a shared log so far.

    Raises:
        ConfigError: the note is not what this program wrote.
        StoreError: it cannot be read.
    """
    return (await _read(notes))[0]


async def make_shared_tokens(notes: Notes, *, admin: bool, sources: Sequence[str]) -> Tokens:
    """The tokens of a shared log, with those that are missing made, as `Tokens.with_missing`.

    Raises:
        ConfigError: the note is not what this program wrote.
        StoreError: it cannot be read or kept.
    """
    while True:
        known, version = await _read(notes)
        tokens = known.with_missing(admin=admin, sources=sources)
        if tokens == known:
            return known
        try:
            await notes.keep(Note(NOTE, orjson.dumps(tokens.as_json()).decode(), version + 1))
        except NoteChanged:
            continue  # by another service that starts
        return tokens


async def _read(notes: Notes) -> tuple[Tokens, int]:
    note = await notes.noted(NOTE)
    if note is None:
        return Tokens(None, {}), 0
    try:
        return tokens_from_json(orjson.loads(note.text)), note.version
    except ValueError:
        raise ConfigError(f"the note {NOTE!r} of the log does not hold tokens; set them in the settings") from None
