"""What is known of each source, by all services over a log together: a note in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import MsgspecError, Struct, field
from msgspec.json import Decoder, encode

from adapter.counts import ADDRESSES, OTHER, REASONS, Tally
from adapter.errors import StoreMismatch
from adapter.source_state.periods import Periods

#: Under which name the log keeps it.
NOTE = "source-state"

#: Minutes of which it is known what came in each.
MINUTES = 60
MINUTE = 60_000
#: Milliseconds by which a time may lie ahead: clocks of several services differ. What lies further ahead was written
#: while a clock was wrong.
AHEAD = 3_600_000


class Refusing(Struct, omit_defaults=True):
    """Requests that were refused, with less than `judging.QUIET` between two of them."""

    #: Times of the first and of the last one, epoch milliseconds.
    first_at: int
    last_at: int
    count: int = 0
    #: How often, by reason.
    reasons: dict[str, int] = field(default_factory=dict)
    #: Where some of them came from.
    addresses: list[str] = field(default_factory=list)
    #: Whether an event told of it.
    told: bool = False

    @property
    def reason(self) -> str:
        """The most frequent one."""
        return max(self.reasons, key=lambda one: self.reasons[one], default="")


class SourceState(Struct, omit_defaults=True):
    """One source. Times are epoch milliseconds."""

    #: Since when it is watched.
    added_at: int
    #: When something came for the last time, and the own time of the last event.
    heard_at: int | None = None
    event_at: int | None = None
    #: Since it is watched.
    total: Tally = Tally()
    #: By minute since the epoch: the last hour.
    minutes: dict[int, Tally] = field(default_factory=dict)
    periods: Periods = field(default_factory=Periods)
    #: Since when it is silent, once that was told.
    silent_since: int | None = None
    #: How often it was silent lately, and when that ended the last time.
    silences: int = 0
    back_at: int | None = None
    refusing: Refusing | None = None
    #: Gaps that were told, by realm and kind of events.
    gaps: dict[str, dict[str, int]] = field(default_factory=dict)

    def lately(self, now: int, minutes: int) -> Tally:
        """What came in the last minutes."""
        first = now // MINUTE - minutes
        found = [one for minute, one in self.minutes.items() if minute > first]
        return Tally(*(sum(numbers) for numbers in zip(Tally(), *found, strict=True)))


class News(NamedTuple):
    """What one service has seen of a source since it said so the last time."""

    tally: Tally = Tally()
    #: When something came, epoch milliseconds; ``None``: nothing did. And the own time of the last event.
    heard_at: int | None = None
    event_at: int | None = None
    #: Refused requests by reason, the time of the last one, and where some of them came from.
    reasons: Mapping[str, int] = {}
    refused_at: int = 0
    addresses: tuple[str, ...] = ()


class Known(Struct):
    """All sources, by the key of each. Times are epoch milliseconds."""

    sources: dict[str, SourceState] = field(default_factory=dict)
    #: When a service looked the last time, and since when one does without a pause.
    looked_at: int = 0
    looked_since: int = 0
    #: How long the log was then: what came later may have been seen by nobody.
    position: int = 0
    version: int = 1

    def written(self) -> str:
        """As the note has it."""
        return encode(self).decode()

    def set_right(self, now: int) -> bool:
        """Take back what was written by a clock that was far ahead: else a source would be heard of in the future, and
        could not be silent until then. Whether anything was."""
        last = now + AHEAD
        if self.looked_at <= last:  # it is as late as all else that the same clock has written
            return False
        self.looked_at, self.looked_since = now, _no_later(self.looked_since, last, now)
        for state in self.sources.values():
            state.added_at = _no_later(state.added_at, last, now)
            if state.heard_at is not None:
                state.heard_at = _no_later(state.heard_at, last, now)
            if state.silent_since is not None:
                state.silent_since = _no_later(state.silent_since, last, now)
            if state.back_at is not None:
                state.back_at = _no_later(state.back_at, last, now)
            if state.refusing is not None:
                state.refusing.first_at = _no_later(state.refusing.first_at, last, now)
                state.refusing.last_at = _no_later(state.refusing.last_at, last, now)
            for minute in [one for one in state.minutes if one > last // MINUTE]:
                del state.minutes[minute]
            state.periods.set_right(last, now)
        return True


def _no_later(time: int, last: int, now: int) -> int:
    """The present instead of a time that lies behind the last one there can be."""
    return time if time <= last else now


_decode = Decoder(Known).decode


def read_known(text: str | None) -> Known:
    """What a note says.

    Raises:
        StoreMismatch: it is not ours.
    """
    if text is None:
        return Known()
    try:
        known = _decode(text)
    except MsgspecError as error:
        raise StoreMismatch(f"the state of the sources cannot be read: {error}") from None
    if known.version != 1:
        raise StoreMismatch(f"the state of the sources is of a newer version ({known.version})")
    return known


def take_up(state: SourceState, news: News, now: int) -> None:
    """Add to a source's state what a service has seen of it."""
    if any(news.tally):
        state.total = _sum(state.total, news.tally)
        minute = now // MINUTE
        state.minutes[minute] = _sum(state.minutes.get(minute, Tally()), news.tally)
    for minute in [one for one in state.minutes if one <= now // MINUTE - MINUTES]:
        del state.minutes[minute]
    if news.heard_at is not None:
        # The clock may have been ahead when it was heard, and right again since.
        heard_at = min(news.heard_at, now)
        state.heard_at = max(state.heard_at or 0, heard_at)
        state.periods.heard(heard_at)
    if news.event_at is not None:
        state.event_at = news.event_at
    if news.reasons:
        refusing, refused_at = state.refusing, min(news.refused_at, now)
        if refusing is None:
            refusing = state.refusing = Refusing(refused_at, refused_at)
        refusing.last_at = max(refusing.last_at, refused_at)
        refusing.count += sum(news.reasons.values())
        for reason, count in news.reasons.items():
            name = reason if reason in refusing.reasons or len(refusing.reasons) < REASONS else OTHER
            refusing.reasons[name] = refusing.reasons.get(name, 0) + count
        refusing.addresses = list(dict.fromkeys([*refusing.addresses, *news.addresses]))[:ADDRESSES]


def _sum(one: Tally, other: Tally) -> Tally:
    return Tally(*(a + b for a, b in zip(one, other, strict=True)))
