"""Saved searches: filters with a name, kept as notes in the log, so that all services over it have them.

They are shared by all whose limits are the same, and by nobody else: a filter may hold names of people and of realms
that others must not see. So a name is one of its limits, and two teams may use the same.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple
from urllib.parse import unquote_plus

import orjson

from adapter.errors import NoteChanged, RequestError
from adapter.filter import PARAMETERS, Filter
from adapter.log.protocol import Note, Notes
from adapter.mapping.catalogue import Catalogue
from adapter.scope import Scope

#: Searches of one scope, and characters of the query of one.
LIMIT, LENGTH = 200, 4_000
#: What a name is.
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

_PREFIX = "saved-search:"
#: How often a note is written again that somebody else has changed meanwhile.
_TRIES = 5
_ESCAPED = re.compile(r"%(?![0-9A-Fa-f]{2})")


class SavedSearch(NamedTuple):
    """A filter with a name."""

    name: str
    #: As in an address, without the question mark: ``type=LOGIN_ERROR&from=7d``.
    query: str
    #: When, epoch milliseconds, and by whom it was saved last.
    saved_at: int
    saved_by: str


class SavedSearches:
    """The saved searches of a log."""

    def __init__(self, log: Notes) -> None:
        self._log = log

    async def all(self, scope: Scope) -> list[SavedSearch]:
        """Those of a scope, by name."""
        return [_read(note) for note in await self._log.notes(_shelf(scope))]

    async def get(self, scope: Scope, name: str) -> SavedSearch | None:
        """The one of this name."""
        note = await self._log.noted(_shelf(scope) + name)
        return None if note is None else _read(note)

    async def save(self, scope: Scope, search: SavedSearch) -> None:
        """Keep one, in the place of that of the same name.

        Raises:
            RequestError: 409, there are too many.
            StoreUnavailable, StoreUnanswered: as `adapter.log.protocol`.
        """
        shelf = _shelf(scope)
        text = orjson.dumps(search._asdict()).decode()
        for last in range(_TRIES, 0, -1):
            before = await self._log.noted(shelf + search.name)
            if before is None and len(await self._log.notes(shelf)) >= LIMIT:
                raise RequestError(409, "Too many saved searches", f"there are {LIMIT} already; delete one first")
            try:
                await self._log.keep(Note(shelf + search.name, text, 1 if before is None else before.version + 1))
                return
            except NoteChanged:
                if last == 1:
                    raise RequestError(409, "Changed meanwhile", "others save it again and again; try later") from None

    async def delete(self, scope: Scope, name: str) -> bool:
        """Delete one; whether there was any. Raises: as `save`."""
        for _ in range(_TRIES):
            note = await self._log.noted(_shelf(scope) + name)
            if note is None:
                return False
            try:
                await self._log.drop(note.name, note.version)
                return True
            except NoteChanged:
                continue
        raise RequestError(409, "Changed meanwhile", "others save it again and again; try later")


def read_query(query: str, catalogue: Catalogue) -> list[tuple[str, str]]:
    """The filters of a query string, in order.

    Raises:
        RequestError: 400, it is none; says at which character, from 1, what is wrong and what would be right.
    """
    if len(query) > LENGTH:
        raise RequestError(
            400, "Bad query", f"query has {len(query)} characters; the limit is {LENGTH}", parameter="query"
        )
    found: list[tuple[str, str]] = []
    at = 1
    for piece in query.split("&"):
        if piece:
            found.append(_read_piece(piece, at, catalogue))
        at += len(piece) + 1
    if not found:
        raise RequestError(
            400,
            "Bad query",
            "query is empty; write filters as in an address: type=LOGIN_ERROR&from=7d",
            parameter="query",
        )
    together: dict[str, list[str]] = {}
    for name, value in found:
        together.setdefault(name, []).append(value)
    try:
        Filter.parse(together, catalogue)
    except RequestError as error:
        raise _refused(1, error.detail) from None
    return found


def _read_piece(piece: str, at: int, catalogue: Catalogue) -> tuple[str, str]:
    name, equals, value = piece.partition("=")
    if not equals:
        raise _refused(at, f"{piece[:100]!r} is no filter; NAME=VALUE is right")
    if (slip := _ESCAPED.search(piece)) is not None:
        raise _refused(at + slip.start(), "a % stands before two hexadecimal digits; as itself it is %25")
    try:
        name, value = (unquote_plus(part, errors="strict") for part in (name, value))
    except UnicodeDecodeError:
        raise _refused(at, f"{piece[:100]!r} is not UTF-8") from None
    if name not in PARAMETERS:
        raise _refused(at, f"{name[:100]!r} is no filter; filters are {', '.join(PARAMETERS)}")
    try:
        Filter.parse({name: [value]}, catalogue)
    except RequestError as error:
        raise _refused(at, error.detail) from None
    return name, value


def _refused(at: int, detail: str) -> RequestError:
    return RequestError(400, "Bad query", f"query, at character {at}: {detail}", parameter="query", character=at)


def _shelf(scope: Scope) -> str:
    """How the names of the notes of a scope begin."""
    told = orjson.dumps(scope.told(), option=orjson.OPT_SORT_KEYS)
    return f"{_PREFIX}{hashlib.blake2b(told, digest_size=16).hexdigest()}:"


def _read(note: Note) -> SavedSearch:
    return SavedSearch(**orjson.loads(note.text))


def checked_name(name: str) -> str:
    """The name of a search.

    Raises:
        RequestError: 400, it is none.
    """
    if re.fullmatch(NAME, name) is None:
        right = "up to 64 letters, digits, dots, dashes and underscores, the first a letter or digit"
        raise RequestError(400, "Bad name", f"{name[:100]!r} is no name of a search; {right}", parameter="name")
    return name
