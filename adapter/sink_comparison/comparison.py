"""A comparison as it is told."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field

from adapter.delivery.fault import Fault
from adapter.delivery.why import Stage

#: Events of each group that are told, if nobody says otherwise, and at most.
TOLD, MOST_TOLD = 10, 1000


class Result(StrEnum):
    """How a comparison ended."""

    SAME = "same"
    #: Nothing differs so far, but one of them has yet to get some that the other has, or is to get.
    PENDING = "pending"
    DIFFERENT = "different"
    #: Neither has any event of that time.
    NOTHING = "nothing"


class Side(StrEnum):
    """One of the two."""

    SINK = "sink"
    #: The other sink, or the recording.
    OTHER = "other"


class Differing(BaseModel):
    """An event that not both have."""

    id: str | None = Field(description="As its provider calls it")
    uid: str | None = Field(description="Ours; null: it is in the recording alone")
    type: str | None
    time: int | None = Field(description="When it happened, epoch milliseconds")
    position: int | None = Field(description="Its place in the log")
    line: int | None = Field(description="Number of the body in the recording, from 1")
    of: Side = Field(description="Of which of the two `stage` and `reason` speak: of the one that has it not")
    stage: Stage | None = Field(description="What became of it there; null: it is not in the log, or not recorded")
    reason: str = Field(description="Why, for people")
    fault: Fault | None = Field(description="Whose fault it is: receiver, network, ours; null: nobody's, or not known")


class Group(BaseModel):
    """Events for which the same holds."""

    count: int = 0
    stages: dict[str, int] = Field(
        default_factory=dict,
        description="How many for each stage at the one that has them not; `not_in_log`, `not_recorded` where there is "
        "none",
    )
    first: list[Differing] = Field(default_factory=list, description="The first of them, by their place in the log")


class Recorded(BaseModel):
    """What a recording holds."""

    bodies: int = Field(0, description="Events that were read")
    repeated: int = Field(0, description="Of these, events that came again: tries that were repeated")
    unreadable: int = Field(0, description="Lines in which there is no event")
    without_id: int = Field(
        0, description="Events without an id of the provider: known by time, type, realm, client, user and address"
    )
    outside: int = Field(0, description="Events that happened before or after the time that is compared")
    first: int | None = Field(None, description="Time of the earliest event, epoch milliseconds")
    last: int | None = Field(None, description="Time of the latest one")


class Comparison(BaseModel):
    """What two sinks got, or a sink and a recorded sender. Each event counts once, however often it was sent."""

    sink: str
    other: str | None = Field(description="The other sink; null: a recording")
    result: Result
    since: int | None = Field(description="Of events that happened then or later, epoch milliseconds; null: of all")
    until: int = Field(description="Of events that happened before then")
    begin: int = Field(description="Looked at are entries of the log behind this position")
    end: int = Field(description="Up to this one")
    same: int = Field(0, description="Events that both have")
    missing: Group = Field(default_factory=Group, description="The other has them, and the sink has not")
    extra: Group = Field(default_factory=Group, description="The sink has them, and the other has not")
    pending: Group = Field(
        default_factory=Group, description="One of the two has yet to come to them, or to deliver them"
    )
    unclear: Group = Field(
        default_factory=Group, description="One of the two passed them with another filter; nobody knows what it got"
    )
    recorded: Recorded | None = Field(None, description="Of the recording")
    notes: list[str] = Field(default_factory=list, description="What else is to be known to judge it, for people")


class Looked(BaseModel):
    """How far it is."""

    done: int = Field(description="Entries of the log that are done")
    all: int = Field(description="Entries that are looked at")


class CompareLine(BaseModel):
    """One line of the answer: the last one has the result, those before it say how far it is."""

    progress: Looked | None = None
    result: Comparison | None = None
