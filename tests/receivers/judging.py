"""What a sender should do where a receiver misbehaves, as judges: from what was seen to a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from tests.receivers.seen import Exchange, Seen


class Bounds(NamedTuple):
    """What is asked of a sender. Seconds and bytes."""

    #: A request must be over by then: the sender's own deadline, and some more.
    deadline: float = 35.0
    #: Of one answer no more may be taken; what the kernels of both sides hold is counted, too.
    taken: int = 1 << 20
    #: Connections at a time to one path.
    connections: int = 128
    #: A message that must come again has come by then.
    patience: float = 60.0
    #: A sender that must not come again is watched for so long.
    quiet: float = 20.0
    #: What was under way when an answer was given, comes within so long.
    grace: float = 0.5


class State(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_SEEN = "not seen"


class Verdict(NamedTuple):
    """What a sender is told."""

    state: State
    said: str


#: From what was seen, the bounds and the time to a verdict.
Judge = Callable[[Seen, Bounds, float], Verdict]

_NOTHING = Verdict(State.NOT_SEEN, "no request came")


def all_of(*judges: Judge) -> Judge:
    """What the first judge says that is not content, or all that they say."""

    def judge(seen: Seen, bounds: Bounds, now: float) -> Verdict:
        if not seen.exchanges:
            return _NOTHING
        verdicts = [one(seen, bounds, now) for one in judges]
        for state in (State.FAILED, State.NOT_SEEN):
            for verdict in verdicts:
                if verdict.state is state:
                    return verdict
        return Verdict(State.PASSED, "; ".join(verdict.said for verdict in verdicts))

    return judge


def comes_again(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """The answer was none, or a failure: the message is sent again."""
    if seen.repeated:
        waits = [late.at - early.at for early, late in _pairs(seen)]
        return Verdict(State.PASSED, f"came again after {min(waits):.1f} s")
    if now - seen.exchanges[0].at > bounds.patience:
        return Verdict(State.FAILED, f"did not come again within {bounds.patience:g} s")
    return Verdict(State.NOT_SEEN, "did not come again so far")


def comes_once(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """The answer was 2xx: the message is not sent again."""
    if seen.repeated:
        return Verdict(State.FAILED, "a message that was taken came again")
    return Verdict(State.PASSED, f"{len(seen.exchanges)} came, each once")


def ends_in_time(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """The sender's deadline holds for the whole exchange."""
    longest = max((one.ended or now) - one.at for one in seen.exchanges)
    if longest > bounds.deadline:
        return Verdict(State.FAILED, f"held a request for {longest:.1f} s")
    if not any(one.ended is not None for one in seen.exchanges):
        return Verdict(State.NOT_SEEN, "no request has ended so far")
    return Verdict(State.PASSED, f"ended after {longest:.1f} s at most")


def takes_little(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """What is read of an answer is bounded."""
    most = max(one.taken for one in seen.exchanges)
    if most > bounds.taken:
        return Verdict(State.FAILED, f"took {most:,} bytes of one answer")
    if not any(one.ended is not None for one in seen.exchanges):
        return Verdict(State.NOT_SEEN, "no answer has ended so far")
    return Verdict(State.PASSED, f"took {most:,} bytes of an answer at most")


def goes_on(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """Nothing of it stops the sender."""
    if len(seen.exchanges) > 1:
        how = "again" if seen.repeated else "with others"
        return Verdict(State.PASSED, f"went on, {how}")
    if now - seen.exchanges[0].at > bounds.patience:
        return Verdict(State.FAILED, f"nothing came any more for {bounds.patience:g} s")
    return Verdict(State.NOT_SEEN, "one request came; another one tells more")


def leaves_connection(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """A connection on which more came than the answer is not used again."""
    used = Counter(one.connection for one in seen.exchanges)
    if any(count > 1 for count in used.values()):
        return Verdict(State.FAILED, "used the connection again, with the surplus bytes on it")
    if len(used) < 2:
        return Verdict(State.NOT_SEEN, "one request came; another one tells more")
    return Verdict(State.PASSED, f"{len(used)} requests, each on a connection of its own")


def is_not_led(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """The sender goes nowhere but to the address that it was given."""
    if seen.inner:
        return Verdict(State.FAILED, f"was led to {seen.inner[0]}")
    return Verdict(State.PASSED, "was not led elsewhere")


def has_few_connections(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """Connections that the receiver never closes do not add up."""
    if seen.most_open > bounds.connections:
        return Verdict(State.FAILED, f"{seen.most_open} connections at a time")
    if len(seen.exchanges) < 2:
        return Verdict(State.NOT_SEEN, "one request came; another one tells more")
    return Verdict(State.PASSED, f"{len(seen.exchanges)} requests, {seen.most_open} connections at a time at most")


def keeps_no_cookie(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """What a receiver says is not said back to it."""
    if any("cookie" in one.headers for one in seen.exchanges):
        return Verdict(State.FAILED, "sent the cookie back")
    return goes_on(seen, bounds, now)


def stays_away(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """The receiver said that it is gone, and nothing more is sent."""
    told = _first_answered(seen)
    if told is None:
        return Verdict(State.NOT_SEEN, "no request was answered so far")
    late = [one for one in seen.exchanges if one.at > told + bounds.grace]
    if late:
        return Verdict(State.FAILED, f"came again {late[0].at - told:.1f} s after it was told")
    if now - told < bounds.quiet:
        return Verdict(State.NOT_SEEN, f"stays away so far; watched for {bounds.quiet:g} s")
    return Verdict(State.PASSED, f"stayed away for {now - told:.0f} s")


def drops_message(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """The receiver asked not to get this message; others are sent."""
    if seen.repeated:
        return Verdict(State.FAILED, "a message came again that was not to")
    told = _first_answered(seen)
    if told is None or now - told < bounds.quiet:
        return Verdict(State.NOT_SEEN, f"none came again so far; watched for {bounds.quiet:g} s")
    return Verdict(State.PASSED, "no message came again")


def waits_as_asked(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """The sender comes again, and not before the time that it was told."""
    told = _first_answered(seen)
    if told is None or seen.named is None:
        return Verdict(State.NOT_SEEN, "no request was answered so far")
    late = [one.at for one in seen.exchanges if one.at > told + bounds.grace]
    if late and late[0] < seen.named:
        return Verdict(State.FAILED, f"came {seen.named - late[0]:.1f} s before the time that it was told")
    if late:
        return Verdict(State.PASSED, f"came {late[0] - seen.named:.1f} s after the time that it was told")
    if now - seen.named > bounds.patience:
        return Verdict(State.FAILED, f"did not come again within {bounds.patience:g} s")
    return Verdict(State.NOT_SEEN, "did not come again so far")


def does_not_trust(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """The certificate is not the receiver's: nothing is sent."""
    if seen.exchanges:
        return Verdict(State.FAILED, "sent a request to who has no right certificate")
    if not seen.knocks:
        return Verdict(State.NOT_SEEN, "no connection came")
    return Verdict(State.PASSED, f"{len(seen.knocks)} connections, and no request on any")


def leaves_silent_tls(seen: Seen, bounds: Bounds, now: float) -> Verdict:
    """The deadline holds for the making of a connection, too."""
    if not seen.knocks:
        return Verdict(State.NOT_SEEN, "no connection came")
    longest = max(seen.held, default=0.0)
    if longest > bounds.deadline or (not seen.held and now - seen.knocks[0] > bounds.deadline):
        return Verdict(State.FAILED, f"waited for {longest or now - seen.knocks[0]:.1f} s")
    if not seen.held:
        return Verdict(State.NOT_SEEN, "no connection has ended so far")
    return Verdict(State.PASSED, f"waited for {longest:.1f} s at most")


def is_not_rebound(lookups: int) -> Judge:
    """No answer of the DNS leads the sender to an inner address; it has asked at least so often."""

    def judge(seen: Seen, bounds: Bounds, now: float) -> Verdict:
        if seen.inner:
            return Verdict(State.FAILED, f"was led to {seen.inner[0]}")
        if seen.lookups < lookups:
            return Verdict(State.NOT_SEEN, f"the name was looked up {seen.lookups} times; {lookups} tell")
        return Verdict(
            State.PASSED, f"{seen.lookups} lookups, {len(seen.exchanges)} requests, none to the inner address"
        )

    return judge


def _first_answered(seen: Seen) -> float | None:
    return min((one.answered for one in seen.exchanges if one.answered is not None), default=None)


def _pairs(seen: Seen) -> list[tuple[Exchange, Exchange]]:
    """The first and the second time that each message came that came twice."""
    first: dict[str, Exchange] = {}
    pairs = {}
    for one in seen.exchanges:
        if one.message not in first:
            first[one.message] = one
        elif one.message not in pairs:
            pairs[one.message] = (first[one.message], one)
    return list(pairs.values())
