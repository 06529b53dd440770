"""A replay as it is asked for, told and kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

#: Events a second, if nobody says otherwise.
RATE = 100
#: Answers that are told of those that were given up on.
SHOWN = 20


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_Values = Annotated[list[str], BeforeValidator(_listed), WithJsonSchema(_ONE_OR_MORE)]


class Status(StrEnum):
    """What became of an event at the sink before."""

    #: It arrived before the sink began, or was passed by a filter that it had before.
    NEVER = "never"
    HELD = "held"
    DEAD = "dead"
    DELIVERED = "delivered"


class State(StrEnum):
    """How it stands with a replay."""

    #: Under way, by the service that delivers to the sink; after a restart it goes on.
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    #: Ended by a fault of ours; the service's log says which.
    FAILED = "failed"


class Question(BaseModel):
    """Which events are to be sent again, and how: those that the sink's own filter takes now, and this one, too."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"status": ["dead"], "filter": {"type": "access.*"}, "rate": 50, "dry_run": True}]
        },
    )

    status: tuple[Status, ...] = Field(
        (Status.DEAD,), min_length=1, description="What became of them before; by default those that are dead"
    )
    filter: dict[str, _Values] = Field(
        default_factory=dict,
        description="As a sink's: type, client, from, to, received_from, received_to, …; none: all",
    )
    rate: int = Field(RATE, ge=0, description="Events a second; 0: as fast as the receiver takes them")
    dry_run: bool = Field(False, description="Send nothing, and count")


class Counts(BaseModel):
    """How many events a replay found, and what became of them."""

    matched: int = Field(0, description="Events that are meant")
    renewed: int = Field(0, description="Held and dead ones: the sink tries them anew, and counts them as its own")
    busy: int = Field(0, description="Held ones that were on their way already, and were left alone")
    delivered: int = Field(0, description="Others: sent and taken")
    held: int = Field(0, description="Others: refused, and waiting for their next try")
    dead: int = Field(0, description="Others: given up on")
    skipped: int = Field(0, description="Others: removed from the log before they were sent")


class Job(BaseModel):
    """A replay: what was asked, how far it is, and what came of it."""

    id: int = Field(description="Number of the replay, from 1 for each sink")
    state: State
    question: Question
    by: str = Field(description="Who asked for it")
    begin: int = Field(description="It begins after this position")
    end: int = Field(description="It ends with this position")
    since: int | None = Field(
        None, description="Where the sink's filter began to count when it was asked for; null: an older version asked"
    )
    position: int = Field(description="It is done up to this position, of the phase that it is in")
    others_done: bool = Field(False, description="Delivered and never tried ones are done; held and dead ones follow")
    counts: Counts = Field(default_factory=Counts)
    answers: list[str] = Field(
        default_factory=list, description=f"Of those that were given up on: answers, the first {SHOWN}"
    )
    started_at: int = Field(description="Epoch milliseconds")
    ended_at: int | None = Field(None, description="Epoch milliseconds; null while it is under way")
    problem: str | None = Field(None, description="What holds it up, or ended it")


class Running(BaseModel):
    """The sinks with a replay that is under way, as all services know them."""

    sinks: list[str] = Field(default_factory=list)
