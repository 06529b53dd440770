"""What the log says about tables: what has arrived of which type, and what a changed table would do to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from adapter.commands.client import Client, read_answer
from adapter.commands.timestamps import shown_time
from adapter.errors import AdapterError
from adapter.formats.text import harmless

#: Native types that are shown; a vendor has some hundred.
SHOWN = 300

#: What a verdict means while nothing is appended.
WOULD = {
    "recovered": "without an event, would be events",
    "corrected": "would read differently",
    "unchanged": "",
    "quarantined": "would still be without an event",
    "kept": "would be no event; they would stay as they are",
}


async def arrivals_of(client: Client, providers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What has arrived of each provider, as ``/mappings/{provider}/coverage`` says it.

    Raises:
        AdapterError: the service refused, with its reason.
    """
    found = {}
    with Console(stderr=True).status("counting what has arrived"):
        for provider in providers:
            async with client.get(f"/mappings/{provider}/coverage", [("arrived", "1")]) as response:
                found[provider] = orjson.loads(await read_answer(response))
    return found


def told_arrivals(found: dict[str, Any]) -> Iterator[str]:
    """The same for people: native types, and values that the table has no word for, the most frequent ones first."""
    yield from _told_types(found["arrived"])
    for one in found["untranslated"]:
        yield harmless(f"  no word for {one['path']} {one['value']!r}  {one['count']}")


def _told_types(arrived: Sequence[dict[str, Any]]) -> Iterator[str]:
    entries, quarantined = (sum(one[name] for one in arrived) for name in ("entries", "quarantined"))
    if not arrived:
        yield "  nothing has arrived yet"
        return
    yield f"  arrived: {entries} entries of {len(arrived)} native types, {quarantined} quarantined"
    rest, arrived = arrived[SHOWN:], arrived[:SHOWN]
    names = [harmless(one["nativeType"]) if one["nativeType"] is not None else "(unreadable)" for one in arrived]
    width, digits = max(map(len, names)), len(str(max(one["entries"] for one in arrived)))
    for name, one in zip(names, arrived, strict=True):
        last = shown_time(one["lastAt"], UTC)
        kept = f", {one['quarantined']} quarantined" if one["quarantined"] else ""
        row = "" if one["row"] or one["nativeType"] is None else ", no row"
        yield f"    {name:<{width}}  {one['entries']:>{digits}}  last {last}{kept}{row}"
    if rest:
        yield f"    and {sum(one['entries'] for one in rest)} entries of {len(rest)} rarer types"


async def stored_changes(client: Client, provider: str, text: str, query: list[tuple[str, str]]) -> dict[str, Any]:
    """What a changed table would do to stored raw events; progress is shown on a terminal.

    Raises:
        AdapterError: the service refused, with its reason, or broke off.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("reading stored events", total=None)
        async for line in client.lines(f"/mappings/{provider}/diff", query, {"mapping": text}):
            if "result" in line:
                found: dict[str, Any] = line["result"]["stored"]
                return found
            progress.update(bar, completed=line["progress"]["done"], total=line["progress"]["all"])
    raise AdapterError("the service broke off; its log says why")


def told_changes(found: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    yield f"stored raw events: looked at {found['counts']['looked_at']} entries"
    yield from told_findings(found, WOULD)


def told_findings(found: dict[str, Any], meanings: Mapping[str, str]) -> Iterator[str]:
    """What reading stored entries again came to, for people; ``meanings``: of the verdicts, in order."""
    for name, meaning in meanings.items():
        yield f"  {name:<11}  {found['counts'][name]:>9}  {meaning}".rstrip()
    if found["counts"]["added"]:
        yield f"  {'added':<11}  {found['counts']['added']:>9}  further events of records (`also`)"
    if found["other_keys"]:
        yield f"  {'other keys':<11}  {found['other_keys']:>9}  would be known by other keys"
    if found["problems"]:
        yield "  without an event, because"
    for problem, count in sorted(found["problems"].items(), key=lambda one: -one[1]):
        yield f"  {count:>22}  {harmless(problem)}"
    if found["fields"]:
        most = sorted(found["fields"].items(), key=lambda one: -one[1])
        yield "  changes by field: " + harmless(", ".join(f"{place} {count}" for place, count in most[:20]))
    for sample in found["samples"]:
        native = sample["native_type"] or "(unreadable)"
        types = native if sample["type"] is None else f"{native} -> {sample['type']}"
        yield harmless(f"{sample['uid']} {sample['verdict']}: {types}")
        for line in sample["lines"]:
            yield f"  {harmless(line)}"
