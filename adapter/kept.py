"""What is kept in a note of the log, of which each version takes the place of the one before: how far a job is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from pydantic import BaseModel

from adapter.log.protocol import Note, Notes

_Model = TypeVar("_Model", bound=BaseModel)


class Kept(Generic[_Model]):
    """One such thing, as the log keeps it."""

    def __init__(self, notes: Notes, name: str, model: type[_Model]) -> None:
        """``name``: of the note."""
        self._notes = notes
        self._name = name
        self._model = model
        self._version = 0

    async def read(self) -> _Model | None:
        """It as it is kept; ``None`` if there never was one.

        Raises:
            ValidationError: it cannot be read.
        """
        note = await self._notes.noted(self._name)
        if note is None:
            return None
        self._version = note.version
        return self._model.model_validate_json(note.text)

    def next(self, value: _Model) -> Note:
        """It as the note that follows the kept one; `take` says that it was stored."""
        return Note(self._name, value.model_dump_json(), self._version + 1)

    def take(self, note: Note) -> None:
        """This one is kept now."""
        self._version = note.version

    async def keep(self, value: _Model) -> None:
        """Keep it.

        Raises: as `keep_with`.
        """
        await self.keep_with(value, self._notes.keep)

    async def keep_with(self, value: _Model, work: Callable[[Note], Awaitable[object]]) -> None:
        """Keep it by something that is stored with a note.

        Raises:
            NoteChanged: somebody else has kept one since this was read.
            StoreError: as ``work``.
        """
        note = self.next(value)
        keeping = asyncio.ensure_future(work(note))
        try:
            await asyncio.shield(keeping)
        except asyncio.CancelledError:
            # What was handed over is stored, whoever breaks off: the next one has to follow it.
            await asyncio.wait([keeping])
            if keeping.exception() is None:
                self.take(note)
            raise
        self.take(note)
