"""What the console says of a sink: its state in words, the sum of its counters, and what its links lead to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

#: What each state is, and how it is coloured.
_STATES = {
    "running": ("running", "good"),
    "down": ("down: the receiver does not take anything", "bad"),
    "paused": ("paused", "warn"),
    "stopped": ("stopped", "bad"),
    "elsewhere": ("another service over the log delivers to it", "plain"),
    "off": ("off: nobody delivers to it", "bad"),
}
_NOBODY = {"receiver": "its receiver", "disable_after": "its setting disable_after"}
#: Who has to mend what failed.
FAULTS = {"receiver": "the receiver", "network": "the network", "ours": "this side"}
#: What an attempt came to, for people.
OUTCOMES = {
    "delivered": ("delivered", "good"),
    "held": ("refused, to be tried again", "warn"),
    "dead": ("given up on", "bad"),
    "down": ("the receiver was down", "bad"),
    "skipped": ("the receiver asked not to get it", "plain"),
    "stopped": ("the receiver wants nothing more", "bad"),
}
#: The parts of the law, as their counters are called, and as people call them.
LAW = (
    ("delivered", "delivered"),
    ("inFlight", "in flight"),
    ("held", "held"),
    ("dead", "dead"),
    ("skipped", "skipped"),
)


class State(NamedTuple):
    """A sink's state in words."""

    text: str
    #: `good`, `warn`, `bad` or `plain`.
    kind: str
    #: Since when, epoch milliseconds; ``None``: not known.
    since: int | None
    #: By whom, of one that somebody paused or stopped, and why, or what was answered; empty: nothing is to be said.
    by: str
    why: str


class Law(NamedTuple):
    """matched = delivered + in flight + held + dead + skipped."""

    matched: int
    #: Name of the counter, its word, and its value; ``None``: not known here.
    parts: Sequence[tuple[str, str, int | None]]
    #: matched less all the others; ``None``: not known here.
    difference: int | None


def state_of(sink: Mapping[str, Any]) -> State:
    """The state of a sink, as the API shows it."""
    text, kind = _STATES.get(sink["state"], (sink["state"], "plain"))
    is_decided = sink["state"] in ("paused", "stopped")
    by = _NOBODY.get(sink["by"] or "", sink["by"] or "") if is_decided else ""
    why = sink["problem"] or (sink["reason"] if is_decided else sink["answer"] if sink["state"] == "down" else "") or ""
    return State(text, "bad" if sink["problem"] else kind, sink["since"], by, "" if why == sink["state"] else why)


def law_of(counts: Mapping[str, Any]) -> Law:
    """The counters of a sink, as the API shows them, and whether they add up."""
    parts = [(name, word, counts[name]) for name, word in LAW]
    known = [value for _, _, value in parts if value is not None]
    difference = counts["matched"] - sum(known) if len(known) == len(parts) else None
    return Law(counts["matched"], parts, difference)


def format_of(settings: Mapping[str, Any]) -> str:
    """Name of the format in a sink's settings."""
    given = settings.get("format")
    if isinstance(given, Mapping):
        return str(given.get("name", "unified"))
    return str(given or "unified")


def filter_of(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """What a sink gets, as the query of the page of events."""
    found = settings.get("filter") or {}
    return {name: [values] if isinstance(values, str) else [*values] for name, values in found.items()}
