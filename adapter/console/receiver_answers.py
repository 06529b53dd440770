"""What a receiver's people are answered by their link, and what they ask with."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from adapter.api.attempts import Durations
from adapter.delivery.attempts import Outcome
from adapter.delivery.fault import Fault
from adapter.sink_management.managing import OVERLAP


class LinkCounts(BaseModel):
    """What became of the events that it is to get, since its filter was set."""

    delivered: int
    inFlight: int | None = Field(description="Null: not known here")
    held: int = Field(description="Refused, and waiting for their next try")
    dead: int = Field(description="Given up on")
    skipped: int


class LinkReplay(BaseModel):
    """Sending again: how far it is, or how it ended."""

    state: str
    startedAt: int = Field(description="Epoch milliseconds, like all times here")
    endedAt: int | None
    matched: int = Field(description="Events that are meant")
    renewed: int = Field(description="Held and dead ones: tried anew")
    delivered: int = Field(description="Others: sent again and taken")
    dead: int = Field(description="Others: given up on")
    problem: str | None


class LinkState(BaseModel):
    """How it stands with the webhook of a link."""

    sink: str
    until: int = Field(description="When the link ends")
    state: str = Field(description="`running`, `down`, `paused`, `stopped`, `off`")
    since: int | None
    answer: str | None = Field(description="The last answer, of one that is down or stopped")
    isCaughtUp: bool = Field(description="Whether nothing waits that it has not been sent")
    counts: LinkCounts
    canRotate: bool = Field(description="Whether its secret can be replaced by the link")
    version: str | None = Field(description="What is sent as `version` to replace the secret of this state alone")
    replay: LinkReplay | None = Field(description="The last time that events were sent again")


class LinkAttempt(BaseModel):
    """One request to the receiver."""

    at: int
    uid: str | None = Field(description="Of the first event in it; null: that was removed since")
    events: int
    number: int = Field(description="Which try of the event it was, from 1; 0: it spent none, as the receiver was down")
    outcome: Outcome
    status: int | None
    durations: Durations
    excerpt: str = Field(description="The beginning of the answer's body, as it came")
    reason: str
    fault: Fault | None


class LinkAttempts(BaseModel):
    """Attempts, the latest first."""

    attempts: list[LinkAttempt]
    next: str | None = Field(description="The cursor of the next page; null at the end")


class LinkDead(BaseModel):
    """An event that was given up on."""

    uid: str | None
    type: str | None
    receivedAt: int | None
    tries: int
    reason: str
    fault: Fault | None


class LinkDeadPage(BaseModel):
    """What was given up on, in the order in which it came."""

    count: int
    dead: list[LinkDead]
    next: str | None


class LinkTested(BaseModel):
    """What came of a test event."""

    outcome: str = Field(description="`delivered`, `later`, `never`, `stop`, or `failed`: nothing could be sent")
    answer: str
    status: int | None
    durations: Durations
    excerpt: str
    seconds: float
    uid: str


class LinkRotation(BaseModel):
    """How the secret is replaced; nothing of it need be said."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap": "24h"}]})

    overlap: float | str = Field(OVERLAP, description="For how long the old one signs, too: seconds, or 24h, 7d")
    version: str | None = Field(None, description="Of the state that is meant: 412 if it has changed since")


class LinkSecret(BaseModel):
    """A new secret: it is shown this once."""

    secret: str
    oldUntil: int | None = Field(description="Until when the old one signs, too; null: it signs no longer")


class LinkReplayQuestion(BaseModel):
    """Which events are to be sent again."""

    model_config = ConfigDict(
        extra="forbid", populate_by_name=True, json_schema_extra={"examples": [{"status": "dead", "from": "24h"}]}
    )

    status: str = Field("dead", description="`dead`, `delivered`, or `all`: both, and those that wait")
    from_: str = Field("", alias="from", description="Those that arrived at or after this timestamp")
    to: str = Field("", description="Those that arrived before this timestamp")


class LinkResendQuestion(BaseModel):
    """Which dead event is to be sent again."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"uid": "6ab16d80-8a3f-8d51-9c4e-3f6f2b41a0c7"}]}
    )

    uid: str


class LinkResent(BaseModel):
    """It is tried anew."""

    uid: str
