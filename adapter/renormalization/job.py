"""A way through the log as it is asked for, told and kept."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from adapter.kept import Kept
from adapter.log.protocol import Notes
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

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"provider": "keycloak", "type": ["quarantined"], "dry_run": True}]},
    )

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


class KeptJob(Kept[Job]):
    """The job as the log keeps it: in a note, of which each version takes the place of the one before."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(notes, NOTE, Job)
