"""What is to be done about a source or a sink: what is wrong with it, and how to find or mend the cause."""

from __future__ import annotations

import re
from collections.abc import Iterator

from adapter.api.status_answer import SinkStatus, SourceStatus
from adapter.errors import is_blocked
from adapter.formats.text import counted, lasting

#: By the title under which a request was refused; all others are those of credentials.
_REFUSED = {
    "Body too large": "have the sender send fewer events at a time, or raise [server] body_limit",
    "Body too slow": "look at the network between the sender and here, or raise [server] body_timeout",
    "Not readable": "look what the sender sends: its body is not what its Content-Type says",
    "Media type not supported": "have the sender say what it sends, such as Content-Type: application/json",
    "Content encoding not supported": "have the sender send gzip, or without compression",
}

#: Answers of receivers to which we have not proved who we are.
_CREDENTIALS = re.compile(r"the receiver answered 40[13]\b")


def source_advice(source: SourceStatus, now: int) -> Iterator[tuple[str, str]]:
    """What is wrong with a source, and what to do. ``now``: epoch milliseconds."""
    check = f"; idp-adapter sources check {source.name} says what is missing there" if source.pulls else ""
    refused = source.refused
    if refused is not None and source.state == "refused":
        reason = max(refused.reasons, key=lambda one: refused.reasons[one], default="")
        duration = lasting((now - refused.firstAt) / 1000)
        yield f"{counted(refused.count, 'request')} refused in {duration}: {reason}", _proof_advice(source.name, reason)
    if source.silentSince is not None:
        ago = lasting((now - source.silentSince) / 1000)
        yield (
            f"nothing came for {ago}",
            f"look whether its sender runs, and whether it reaches /ingest/{source.name}{check}",
        )
    for stream in source.pulls:
        if stream.problem is not None:
            yield stream.problem, f"idp-adapter sources check {source.name} says what is missing there"
    if source.hour.quarantined:
        yield (
            f"{counted(source.hour.quarantined, 'record')} of the last hour could not be made an event",
            f"idp-adapter events quarantine --source {source.name} says why",
        )


def sink_advice(sink: SinkStatus, now: int) -> Iterator[tuple[str, str]]:
    """What is wrong with a sink, and what to do. ``now``: epoch milliseconds."""
    ago = "" if sink.since is None else f" for {lasting((now - sink.since) / 1000)}"
    if sink.state == "down" and sink.answer is not None and is_blocked(sink.answer):
        yield (
            f"nothing may be sent to its receiver{ago}: {sink.answer}",
            "change its address, or the settings that refuse it, and have them read: idp-adapter reload; what was not "
            "sent waits in the log",
        )
    elif sink.state == "down" and _CREDENTIALS.match(sink.answer or ""):
        yield (
            f"the receiver does not know us{ago}: {sink.answer}",
            f"check the sink's secret and `auth` (idp-adapter sinks show {sink.name}) against what the receiver "
            f"expects, and try them: idp-adapter sinks test {sink.name}; what it does not take waits in the log",
        )
    elif sink.state == "down":
        yield (
            f"the receiver takes nothing{ago}: {sink.answer}",
            "look at the receiver; what it does not take waits in the log, and is sent when it answers",
        )
    if sink.state == "stopped":
        yield (
            f"stopped{ago}: {sink.reason or sink.answer}",
            "mend the receiver or change its address, and resume the sink; what it missed waits in the log",
        )
    if sink.state == "paused":
        yield f"paused{ago} by {sink.by}: {sink.reason or 'no reason given'}", "resume it when that is over"


def _proof_advice(name: str, reason: str) -> str:
    if reason in _REFUSED:
        return _REFUSED[reason]
    if "is not recent" in reason:
        return "set the clocks of the sender and of this machine right"
    return (
        f"compare the sender's secret (Keycloak: the webhook's secret, or sharedSecret) with the token of the source "
        f"{name}"
    )
