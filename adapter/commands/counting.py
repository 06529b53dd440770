"""``idp-adapter events count``: how many events there are of each type, user, address, …"""

from __future__ import annotations

from datetime import tzinfo
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from adapter.commands.client import Client, read_answer, run, tell
from adapter.commands.columns import Column, fitted
from adapter.commands.filters import Filters
from adapter.commands.options import At, grouped
from adapter.commands.output import console_of_output, write_json
from adapter.commands.timestamps import InUtc, shown_time, shown_zone
from adapter.formats.text import harmless
from adapter.mapping.times import read_zone
from adapter.search.buckets import FORMS
from adapter.search.index import NAMES

#: Characters of the longest bar.
_BAR = 30
#: Values that have a column of their own beside the buckets, at most.
_SERIES = 5

By = StrEnum("By", {name: name for name in NAMES})  # type: ignore[misc]


@grouped
def count(
    by: Annotated[By, typer.Option("--by", help="What is counted; user: who acted.")],
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many values.")] = 20,
    bucket: Annotated[
        str | None,
        typer.Option("--bucket", help=f"Also in each stretch of time: {FORMS}. Needs --from."),
    ] = None,
    tz: Annotated[
        str | None, typer.Option("--tz", metavar="ZONE", help="Whose days are buckets: Europe/Berlin; default: UTC.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The answer of GET /events/counts, on one line.")] = False,
    utc: InUtc = False,
    *,
    filters: Filters,
    at: At,
) -> None:
    """Count events by their type, user, address, client, reason, …: the most frequent first.

    Where there are more events than can be counted in time, the latest are counted, and it is said since when.

    For example: idp-adapter events count --by reason --outcome failure --from 7d --bucket day
    """
    query = [*filters.query(at), ("by", str(by)), ("limit", str(limit))]
    query += [(name, value) for name, value in (("bucket", bucket), ("tz", tz)) if value is not None]

    async def counting(client: Client) -> dict[str, Any]:
        async with client.get("/events/counts", query) as response:
            found: dict[str, Any] = orjson.loads(await read_answer(response))
            tell(found.get("hints", ()))
            return found

    found = run(counting, at)
    if json:
        write_json([orjson.dumps(found)])
        return
    console = console_of_output()
    if found["counts"]:
        console.print(_table(found, console.width, bars=console.is_terminal))
    if bucket is not None:
        console.print(_by_time(found, read_zone(found["tz"]), console.width, bars=console.is_terminal))
    values = len(found["counts"])
    more = f"; {values} of {found['different']} values, --limit shows more" if values < found["different"] else ""
    console.print(f"{found['total']} events in all{more}", soft_wrap=True)
    if found["partial"]:
        since = shown_time(found["since"], shown_zone(utc))
        tell([f"partial: those since {since} are counted, and none before; narrow it, for example with --from"])


def _table(found: dict[str, Any], width: int, *, bars: bool) -> Table:
    counts = found["counts"]
    most, total = counts[0]["count"], found["total"]
    columns = [
        Column(found["by"], [_value(one["value"]) for one in counts], 128, 20),
        Column("events", [Text(str(one["count"])) for one in counts], 20, 20, right=True),
        Column("share", [Text(f"{one['count'] / total:.1%}") for one in counts], 6, 6, spare=1, right=True),
    ]
    if bars:
        drawn = [Text("█" * max(1, round(one["count"] / most * _BAR)), style="cyan") for one in counts]
        columns.append(Column("", drawn, _BAR, _BAR, spare=2))
    return fitted(columns, width)


def _by_time(found: dict[str, Any], zone: tzinfo, width: int, *, bars: bool) -> Table:
    """A row for each bucket: all events, and those of the most frequent values."""
    totals = found["totals"]
    most = max((one or 0 for one in totals), default=0) or 1
    columns = [
        Column("from", [Text(shown_time(start, zone)) for start in found["starts"]], 25, 20),
        Column("events", [_number(one) for one in totals], 20, 20, right=True),
    ]
    for place, one in enumerate(found["counts"][:_SERIES]):
        cells = [_number(number) for number in one["series"]]
        columns.append(Column(escape(str(_value(one["value"]))), cells, 20, 8, spare=place + 3, right=True))
    if bars:
        drawn = [Text("█" * round((one or 0) / most * _BAR), style="cyan") for one in totals]
        columns.append(Column("", drawn, _BAR, _BAR, spare=2))
    return fitted(columns, width)


def _number(number: int | None) -> Text:
    return Text("?", style="dim") if number is None else Text(str(number))


def _value(value: str | None) -> Text:
    return Text("(none)", style="dim") if value is None else Text(harmless(value))
