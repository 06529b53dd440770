"""The event that says what a scrub changed: which entries, and which sinks had had them. Never what."""

from __future__ import annotations

from collections.abc import Mapping

from adapter.log.protocol import NewEntry
from adapter.model import Outcome
from adapter.scrub.job import Job, said, up_to
from adapter.system_events import system_event

#: Name of the event, behind ``system.``.
NAME = "EVENTS-SCRUBBED"


def changed_event(job: Job, cursors: Mapping[str, int], now: int) -> NewEntry:
    """Of what was changed and is not told yet. ``cursors``: up to where each sink has had what is in the log; ``now``:
    epoch milliseconds."""
    stretches = job.untold
    had = {name: up_to(stretches, cursor) for name, cursor in cursors.items()}
    details = {
        "entries": str(sum(last - first + 1 for first, last in stretches)),
        "positions": said(stretches),
        "sinks": ", ".join(f"{name} {count}" for name, count in had.items() if count) or "none",
    }
    sinks = [{"name": name, "entries": count, "cursor": cursors[name]} for name, count in had.items()]
    return system_event(
        NAME,
        now,
        details,
        raw={"positions": stretches, "sinks": sinks, "by": job.by},
        outcome=Outcome.SUCCESS,
        username=job.by,
    )
