"""A way through the log as it is asked for, told and kept."""

from __future__ import annotations

import asyncio
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from adapter.log.protocol import Note, Notes
from adapter.renormalization.step import Findings, Step

#: Under which name the log keeps how far the job is.
NOTE = "renormalization"
#: The word that stands among the types for what has no event.
QUARANTINED = "quarantined"
#: Entries a second, if nobody says otherwise: a tenth of what a core could do.
RATE = 5_000


class State(StrEnum):
    """How it stands with a job."""

    RUNNING = "running"
    #: Broken off by the end of the service; the next one goes on with it.
    WAITING = "waiting"
    DONE = "done"
    CANCELLED = "cancelled"
    #: Ended by a fault of ours; the service's log says which.
    FAILED = "failed"


class Question(BaseModel):
    """Which stored entries are to be read again, and how."""

    model_config = ConfigDict(extra="forbid")

    provider: str | None = Field(None, description="Of this provider alone")
    type: tuple[str, ...] = Field(
        (), description="Types or globs as in the feed, or quarantined for what has no event; none: everything"
    )
    native_type: tuple[str, ...] = Field((), description="Native types; none: all")
    received_from: int | None = Field(None, ge=0, description="Arrived at or after this timestamp, epoch milliseconds")
    received_to: int | None = Field(None, ge=0, description="Arrived before this timestamp, epoch milliseconds")
    rate: int = Field(RATE, ge=0, description="Entries a second; 0: as fast as it goes")
    dry_run: bool = Field(False, description="Append nothing, and show what would be different")


class Job(Findings):
    """A way through the log: what was asked, how far it is, and what it found."""

    state: State
    question: Question
    begin: int = Field(description="It begins after this position")
    end: int = Field(description="It ends with this position")
    position: int = Field(description="It is done up to this position")
    started_at: int = Field(description="Epoch milliseconds")
    ended_at: int | None = Field(None, description="Epoch milliseconds; null while it is under way")
    problem: str | None = Field(None, description="What holds it up, or ended it")

    def moved(self, position: int, step: Step) -> Job:
        """The job after one more stretch, up to ``position``."""
        return self.with_step(step).model_copy(update={"position": position, "problem": None})


class KeptJob:
    """The job as the log keeps it: in a note, of which each version takes the place of the one before."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._version = 0

    async def read(self) -> Job | None:
        """The job as it is kept; ``None`` if there never was one.

        Raises:
            ValidationError: it cannot be read.
        """
        note = await self._notes.noted(NOTE)
        if note is None:
            return None
        self._version = note.version
        return Job.model_validate_json(note.text)

    def next(self, job: Job) -> Note:
        """The job as the note that follows the kept one; `take` says that it was stored."""
        return Note(NOTE, job.model_dump_json(), self._version + 1)

    def take(self, note: Note) -> None:
        """This one is kept now."""
        self._version = note.version

    async def keep(self, job: Job) -> None:
        """Keep the job.

        Raises:
            NoteChanged: somebody else has kept one since this was read.
            StoreError: as `adapter.log.protocol.Notes.keep`.
        """
        note = self.next(job)
        keeping = asyncio.ensure_future(self._notes.keep(note))
        try:
            await asyncio.shield(keeping)
        except asyncio.CancelledError:
            # What was handed over is stored, whoever breaks off: the next one has to follow it.
            await asyncio.wait([keeping])
            if keeping.exception() is None:
                self.take(note)
            raise
        self.take(note)
