"""What holding a server's stored events against the log comes to."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

#: Missing events that are named.
NAMED = 1_000


class Result(StrEnum):
    """How it ended."""

    #: It has not ended.
    READING = "reading"
    #: The log has all events that the server has.
    COMPLETE = "complete"
    MISSING = "missing"
    #: Some were missing, and were fetched.
    REPAIRED = "repaired"
    #: The server does not keep the span: it removes what is as old, or stores no such events. Some may be left.
    EXPIRED = "expired"
    #: The server, or the log, did not answer.
    FAILED = "failed"


class MissingEvent(BaseModel):
    """An event that the server has and the log has not."""

    id: str | None = Field(description="The server's id; null before Keycloak 26.2")
    uid: str = Field(description="The uid that it would get")
    time: int = Field(description="Epoch milliseconds")
    type: str = Field(description="LOGIN; of an admin event operation and resource: CREATE USER")


class Comparison(BaseModel):
    """The user events or the admin events of a realm, held against the log. Times are epoch milliseconds."""

    model_config = ConfigDict(populate_by_name=True)

    source: str
    realm: str
    kind: Literal["events", "admin-events"]
    since: int = Field(alias="from")
    to: int = Field(description="Up to where events were compared: later ones may not be committed yet")
    result: Result = Result.READING
    on_server: int = Field(0, description="Events that the server has, those of types that the table ignores left out")
    in_log: int = Field(0, description="Of these, how many the log had")
    only_in_log: int | None = Field(
        None, description="Events of the realm that the log alone has; null where the realm's id is not known"
    )
    missing_count: int = Field(0, description="How many the log does not have")
    missing: list[MissingEvent] = Field(
        default_factory=list, description=f"Which these are, in the order of the pages read; the first {NAMED:,}"
    )
    repaired: int = Field(0, description="How many were missing and have been fetched")
    kept_from: int | None = Field(
        None,
        description="Of what happened before this time the server may keep nothing, so it is not known to be complete",
    )
    problem: str | None = Field(None, description="Why it failed")

    def end(self) -> None:
        """All was read: say how it ended."""
        if self.missing_count:
            self.result = Result.MISSING
        elif self.kept_from is not None and self.kept_from >= self.to:
            self.result = Result.EXPIRED
        else:
            self.result = Result.REPAIRED if self.repaired else Result.COMPLETE
