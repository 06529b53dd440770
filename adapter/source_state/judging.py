"""When a source is silent, refused, or back again. Pure: times are arguments, in epoch milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import inf
from typing import NamedTuple

from adapter.source_state.state import SourceState

#: A source without a time of its own in the settings is silent after so many periods in which it usually is not:
#: an hour and a half. More than the hour by which a change of the clocks moves everybody's day.
PERIODS = 9
#: How often the time, or the periods, are doubled for a source that was silent before; and after how long it is as if
#: it never had been.
DOUBLED, FORGIVEN = 4, 86_400_000
#: Milliseconds after which what any service has heard is known to all: they say so every ten seconds.
KNOWN = 20_000
#: Refused requests are told after this time, so many of them or if nothing else came meanwhile; and it is over when
#: none came for this long.
PATIENCE, TOLD, QUIET = 60_000, 3, 3_600_000
#: Refused requests are a warning for so long, and for as long as nothing else comes.
WARNED = 600_000


class Told(NamedTuple):
    """Something that becomes an event: ``system.SOURCE-…``."""

    name: str
    details: Mapping[str, str]


class Gap(NamedTuple):
    """Events that the server removed before they were read, by realm and kind of events."""

    realm: str
    kind: str
    #: How many there ever were; from and until when events may be missing by the last one.
    number: int
    begin: int
    end: int


def judge(
    state: SourceState, name: str, silence: float | None, gaps: list[Gap], now: int, looked_since: int
) -> Iterator[Told]:
    """What is to be told of a source; its state is changed to that. ``silence``: seconds; ``None``: by its own habits;
    infinite: never. ``looked_since``: since when somebody would have heard it."""
    yield from _judge_silence(state, name, silence, now, looked_since)
    yield from _judge_refusals(state, name, now)
    for gap in gaps:
        told = state.gaps.setdefault(gap.realm, {})
        if gap.number > told.get(gap.kind, 0):
            told[gap.kind] = gap.number
            details = {"realm": gap.realm, "kind": gap.kind, "from": written(gap.begin), "to": written(gap.end)}
            yield Told("SOURCE-GAP", {"source": name, **details})


def is_refused(state: SourceState, now: int, *, told: bool = True) -> bool:
    """Whether its requests are refused now, so that somebody should look; with ``told`` only once an event said so."""
    refusing = state.refusing
    if refusing is None:
        return False
    nothing_since = (state.heard_at or 0) < refusing.last_at
    return nothing_since or now - refusing.last_at <= WARNED if refusing.told else nothing_since and not told


def written(milliseconds: int) -> str:
    """A time, for people and programs."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _judge_silence(state: SourceState, name: str, silence: float | None, now: int, looked_since: int) -> Iterator[Told]:
    heard_at = state.heard_at or 0
    if state.silent_since is not None:
        if heard_at > state.silent_since or silence == inf:
            details = {"after": "silence", "since": written(state.silent_since)}
            if heard_at > state.silent_since:
                details["seconds"] = str((heard_at - state.silent_since) // 1000)
            yield Told("SOURCE-BACK", {"source": name, **details})
            state.silent_since, state.back_at = None, now
            state.silences += 1
        return
    if state.back_at is not None and now - state.back_at >= FORGIVEN:
        state.silences, state.back_at = 0, None
    begin = max(heard_at, state.added_at, looked_since)
    times = 2 ** min(state.silences, DOUBLED)
    if silence is None:
        is_silent = state.periods.usual(begin, now - KNOWN) >= PERIODS * times
    else:
        is_silent = now - KNOWN - begin >= silence * 1000 * times
    if is_silent:
        state.silent_since = heard_at or state.added_at
        details = {"since": written(state.silent_since), "seconds": str((now - state.silent_since) // 1000)}
        yield Told("SOURCE-SILENT", {"source": name, **details, "rule": "usual" if silence is None else "set"})


def _judge_refusals(state: SourceState, name: str, now: int) -> Iterator[Told]:
    refusing = state.refusing
    if refusing is None:
        return
    nothing_else = (state.heard_at or 0) < refusing.first_at
    is_over = now - refusing.last_at >= QUIET
    if not refusing.told and not is_over and now - refusing.first_at >= PATIENCE:
        refusing.told = refusing.count >= TOLD or nothing_else
        if refusing.told:
            yield Told("SOURCE-REFUSED", {"source": name, **_details(state)})
    if is_over:
        if refusing.told:
            yield Told("SOURCE-BACK", {"source": name, "after": "refusal", **_details(state)})
        state.refusing = None


def _details(state: SourceState) -> dict[str, str]:
    refusing = state.refusing
    assert refusing is not None
    details = {"since": written(refusing.first_at), "refused": str(refusing.count), "reason": refusing.reason}
    if refusing.addresses:
        details["addresses"] = ", ".join(refusing.addresses)
    return details
