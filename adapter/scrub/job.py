"""A way through the log as it is asked for, told and kept. No secret ever stands in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

#: Under which name the log keeps how far the job is.
NOTE = "scrub"
#: Entries a second, if nobody says otherwise.
RATE = 10_000
#: Stretches of positions that are shown of a job.
SHOWN = 200

#: First and last position, both included.
Stretch = tuple[int, int]


class State(StrEnum):
    """How it stands with a job."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    #: By the end of the service. What it changed is changed; the texts that were given are not kept, so nobody goes on.
    BROKEN_OFF = "broken_off"
    #: Ended by a fault of ours; the service's log says which.
    FAILED = "failed"


class Question(BaseModel):
    """What is to be taken out of which entries, beside the secrets that the service knows itself."""

    model_config = ConfigDict(extra="forbid")

    redact: bool = Field(False, description="Also what the sources' tables redact now")
    dry_run: bool = Field(True, description="Change nothing, and show what holds a secret")
    after: int = Field(0, ge=0, description="Begin behind this position: to go on with one that was broken off")
    rate: int = Field(RATE, ge=0, description="Entries a second; 0: as fast as it goes")


class Job(BaseModel):
    """A way through the log: what was asked, how far it is, and what it found."""

    state: State
    question: Question
    texts: int = Field(description="How many texts were given")
    by: str = Field(description="Who started it")
    begin: int = Field(description="It begins after this position")
    end: int = Field(description="It ends with this position")
    position: int = Field(description="It is done up to this position")
    entries: int = Field(0, description="Entries that held a secret")
    positions: list[Stretch] = Field(
        default_factory=list, description=f"Their positions: first and last of each stretch, the first {SHOWN} of them"
    )
    sources: Counter[str] = Field(default_factory=Counter, description="How many of each source")
    sinks: Counter[str] = Field(
        default_factory=Counter, description="How many of them each sink has had, by its cursor"
    )
    problems: Counter[str] = Field(
        default_factory=Counter, description="Why entries could not be looked into, and how many"
    )
    started_at: int = Field(description="Epoch milliseconds")
    ended_at: int | None = Field(None, description="Epoch milliseconds; null while it is under way")
    problem: str | None = Field(None, description="What holds it up, or ended it")
    untold: list[Stretch] = Field(
        default_factory=list, description="Positions that were changed, and that no event tells yet"
    )
    rebuild: bool = Field(False, description="The search is still to be built again")


def joined(stretches: Sequence[Stretch], positions: Iterable[int]) -> list[Stretch]:
    """Stretches with further positions, all of which lie behind them, ascending."""
    both = list(stretches)
    for position in positions:
        if both and both[-1][1] == position - 1:
            both[-1] = both[-1][0], position
        else:
            both.append((position, position))
    return both


def said(stretches: Sequence[Stretch]) -> str:
    """Stretches for people: ``4101-4112, 4120``."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in stretches)


def up_to(stretches: Sequence[Stretch], cursor: int) -> int:
    """How many of the positions are not behind a cursor."""
    return sum(max(0, min(last, cursor) - first + 1) for first, last in stretches)
