"""One event that is sent to a sink now, outside of the log, to see whether its receiver takes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel, Field

from adapter.errors import AdapterError
from adapter.formats.text import harmless
from adapter.model import Entry, uid_text
from adapter.outgoing.settings import OutgoingSettings
from adapter.sinks.protocol import Answer, Delivered, Later, Stop
from adapter.sinks.settings import SinkSettings, open_sink
from adapter.sinks.token_key import GetTokenKey
from adapter.system_events import system_event

#: Name of the event, behind ``system.``.
NAME = "SINK-TEST"
#: Characters of an answer that are shown.
_SHOWN = 1_000


class Tested(BaseModel):
    """What came of a test event."""

    outcome: str = Field(
        description="`delivered`: the receiver took it; `later`: such an answer would be tried again; `never`: it "
        "would not; `stop`: it would stop the sink; `failed`: the sink cannot be opened as it is set"
    )
    answer: str = Field(description="What was answered, for people")
    seconds: float = Field(description="How long it took")
    uid: str = Field(description="The uid of the test event, of which its message id is made")
    tried: dict[str, Any] | None = Field(
        None, description="What was seen of the try, where the kind tells it: status, durations, an excerpt"
    )


async def send_test(
    settings: SinkSettings,
    outgoing: OutgoingSettings,
    token_key: GetTokenKey,
    by: str,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Tested:
    """Send one event ``system.SINK-TEST`` as the sink would send any: signed, in its format. It is in no log."""
    now = time.time_ns() // 1_000_000
    new = system_event(NAME, now, {"sink": settings.name}, username=by)
    entry = Entry(0, new.uid, 0, now, new.source, new.type, new.event, None, new.native_type)
    uid = uid_text(new.uid)
    began = clock()
    try:
        async with open_sink(settings, outgoing, token_key) as sink:
            began = clock()
            [answer] = await sink.send([entry])
            seconds = clock() - began
    except AdapterError as error:
        return Tested(outcome="failed", answer=_harmless(str(error)), seconds=clock() - began, uid=uid)
    return Tested(
        outcome=_outcome(answer),
        answer=_harmless(getattr(answer, "reason", "delivered")),
        seconds=round(seconds, 6),
        uid=uid,
        tried=_tried(answer),
    )


def _outcome(answer: Answer) -> str:
    match answer:
        case Delivered():
            return "delivered"
        case Later():
            return "later"
        case Stop():
            return "stop"
        case _:
            return "never"


def _tried(answer: Answer) -> dict[str, Any] | None:
    """What a kind tells of a try, with its texts made harmless."""
    seen = getattr(answer, "tried", None)
    if seen is None:
        return None
    names: Iterable[str] = getattr(seen, "__dataclass_fields__", ())
    found = {name: getattr(seen, name) for name in names}
    return {
        name: _harmless(one) if isinstance(one, str) else one
        for name, one in found.items()
        if isinstance(one, str | int | float | bool | None)
    }


def _harmless(text: str) -> str:
    return harmless(text[:_SHOWN])
