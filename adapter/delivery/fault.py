"""Whose fault a failed try was, by what was said of it: the answers of `adapter.sinks` are texts for people, and of a
try long ago nothing else is left."""

from __future__ import annotations

import re
from enum import StrEnum


class Fault(StrEnum):
    """Who has to mend it."""

    #: It answered, and did not take the event; or it took too long, or its answer or certificate is none.
    RECEIVER = "receiver"
    #: No connection came about, or it broke.
    NETWORK = "network"
    #: The adapter, its settings or its disk: an address that it may not send to, credentials that are refused.
    OURS = "ours"


_RULES = (
    (Fault.OURS, r"the receiver answered 40[137]\b|it refuses our credentials"),
    (Fault.RECEIVER, r"the receiver answered \d|the receiver closed|the receiver said|no answer within"),
    (Fault.RECEIVER, r"the answer is not valid HTTP|its certificate is not accepted"),
    (Fault.OURS, r"address not allowed|\bblocked\b|this program failed|/.*: "),
    (Fault.NETWORK, r"cannot connect|the connection failed|the proxy answered|cannot be looked up"),
)
_COMPILED = tuple((fault, re.compile(f"(?:{pattern})")) for fault, pattern in _RULES)


def fault_of(said: str) -> Fault | None:
    """Whose fault it was that a try came to this; ``None``: the text does not say."""
    return next((fault for fault, pattern in _COMPILED if pattern.match(said)), None)
