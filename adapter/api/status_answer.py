"""The answer of ``/status``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Counted(BaseModel):
    """What came of a source."""

    accepted: int = Field(description="Records that were new")
    duplicates: int = Field(description="Records that were known already")
    quarantined: int = Field(description="Records that could not be made an event")
    ignored: int = Field(description="Records that the provider's table leaves out")
    refused: int = Field(description="Requests that were refused because of their sender")


class RefusedRequests(BaseModel):
    """Requests that were refused, with less than an hour between two of them."""

    count: int
    firstAt: int = Field(description="Epoch milliseconds, like all times here")
    lastAt: int
    reasons: dict[str, int] = Field(description="How often, by reason")
    addresses: list[str] = Field(description="Where some of them came from: a proxy's address, if there is one")


class PulledStream(BaseModel):
    """The user events or the admin events of a realm that are read; without a realm: what concerns all."""

    realm: str
    kind: str
    readAt: int | None = Field(description="When it was read last")
    lag: float | None = Field(description="Seconds since the time up to which all its events are in the log")
    errors: int = Field(description="Polls that were refused or not answered")
    gaps: int = Field(description="How often events were removed there before they were read")
    problem: str | None


class SourceStatus(BaseModel):
    """One source, as all services over the log have seen it."""

    name: str
    provider: str
    state: str = Field(description="`ok`, `silent`, `refused`, or `new`: nothing ever came")
    lastAt: int | None = Field(description="When something came for the last time")
    lastEventTime: int | None = Field(description="The own time of the last event, if it has one")
    silentSince: int | None
    tenMinutes: int = Field(description="Records that came in the last ten minutes")
    hour: Counted = Field(description="What came in the last hour")
    since: int | None = Field(description="Since when it is counted")
    total: Counted
    refused: RefusedRequests | None
    pulls: list[PulledStream] = Field(description="Of a source that is read by the service that answers")


class SinkStatus(BaseModel):
    """One sink."""

    name: str
    kind: str
    state: str = Field(
        description="`running`; `down`: the receiver does not take anything; `paused`: by somebody; `stopped`: the "
        "receiver wants nothing more, or took nothing for as long as the settings say; "
        "`elsewhere`: another service over the log delivers to it; `off`: nobody does"
    )
    since: int | None = Field(description="Since when it is in this state")
    lag: int = Field(description="Entries between its place and the end of the log")
    behind: float = Field(description="Seconds since the first of them arrived")
    held: int = Field(description="Events that failed and wait for their next try")
    dead: int = Field(description="Events that it gave up on")
    nextTry: int | None = Field(description="When the first of the held ones is tried again")
    answer: str | None = Field(description="The last answer")
    reason: str | None = Field(None, description="Why it was paused or stopped")
    by: str | None = Field(None, description="Who paused or stopped it; `receiver` and `disable_after` are nobody")
    failingSince: int | None = Field(None, description="Since when it has had nothing but failures")
    rate: float | None = Field(None, description="The most events a second that it gets now; null: any number")


class Todo(BaseModel):
    """Something that somebody should do."""

    kind: Literal["service", "source", "sink"] = Field(description="What it is about")
    about: str = Field(description="Name of the source or sink; empty: the service")
    problem: str
    advice: str


class Status(BaseModel):
    """How it stands."""

    version: str
    store: str = Field(description="Where the log lies: `sqlite` or `postgresql`")
    startedAt: int = Field(description="Since when the service that answers runs")
    now: int
    problem: str | None = Field(description="Why no events are taken now")
    head: int = Field(description="Position of the last entry in the log")
    sources: list[SourceStatus]
    sinks: list[SinkStatus]
    todo: list[Todo] = Field(description="Empty: all is well")
