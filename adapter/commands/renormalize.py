"""``idp-adapter events renormalize``: have stored raw events read again by the present tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from adapter.commands.client import fail
from adapter.commands.jobs import Arrived, Kind, Ways, run_job
from adapter.commands.options import At
from adapter.commands.output import say
from adapter.commands.stored import WOULD, told_findings
from adapter.formats.text import harmless

_MEANING = {
    "recovered": "quarantined until then, events now",
    "corrected": "read differently now: a revision each",
    "unchanged": "",
    "quarantined": "still quarantined",
    "kept": "would be no event now; they stay as they are",
}


_KIND = Kind("/renormalization", "reading again", "events renormalize")
#: What else than types and times the events may be chosen by.
_FILTERS = ("provider", "native_type")


def renormalize(
    provider: Annotated[str | None, typer.Option("--provider", help="Of this provider alone.")] = None,
    native_types: Annotated[
        list[str] | None, typer.Option("--native-type", help="The provider's own type. Repeatable.")
    ] = None,
    *,
    arrived: Arrived,
    ways: Ways,
    at: At,
) -> None:
    """Read stored raw events again by the present tables: what was quarantined becomes an event, what reads
    differently gets a revision. --type quarantined is what has no event. 5,000 entries a second, if --rate does not say
    otherwise. Ctrl-C leaves it going.

    For example: idp-adapter events renormalize --provider onewelcome --type quarantined --dry-run
    """
    filter = arrived.filter(datetime.now(UTC))
    named = {name: filter.pop(name, []) for name in _FILTERS}
    if others := filter.keys() - {"type", "received_from", "received_to"}:
        fail(
            f"--where {harmless(min(others))}: raw events are chosen by {' and '.join(_FILTERS)}, --type and time alone"
        )
    providers = [*([provider] if provider is not None else []), *named["provider"]]
    if len(providers) > 1:
        fail("--provider: one at a time; without it, all are read again")
    question = {
        "provider": providers[0] if providers else None,
        "type": filter.get("type"),
        "native_type": [*(native_types or []), *named["native_type"]] or None,
        **{name: values[0] for name, values in filter.items() if name != "type"},
    }
    run_job(at, _KIND, question, ways, _tell)


def _tell(job: dict[str, Any]) -> None:
    counts = job["counts"]
    dry = job["question"]["dry_run"]
    what = "dry run" if dry else "renormalization"
    say(f"{what} {job['state']}: looked at {counts['looked_at']} entries, up to position {job['position']}")
    for line in told_findings(job, WOULD if dry else _MEANING):
        say(line)
    if job["problem"]:
        say(f"  {job['problem']}")
