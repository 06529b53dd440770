"""Page People: who is known, when they were seen and used last, and what one of them did."""

from __future__ import annotations

import shlex
import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import web
from yarl import URL

from adapter.console.charts import Bar, Part, bars, highest, round_up
from adapter.console.frame import Route, Section
from adapter.console.visit import Refused, Visit
from adapter.formats.text import harmless
from adapter.settings import Permission

PATH = "/ui/people"
#: Accounts on a page, and stories of a timeline, about.
_LIMIT, _STORIES = 50, 50
#: Filters of the list, as the API calls them.
_FILTERS = ("q", "dormant_since", "failures_min", "source", "realm", "provider")
#: Those that the command line has, too.
_OPTIONS = ("dormant_since", "failures_min", "source", "realm")
SORTS = {
    "-last": "seen last",
    "last": "not seen for longest",
    "-success": "logged in last",
    "success": "not logged in for longest",
    "-failures": "most failures",
}
#: Of which events people are counted.
_WHERE = ("source", "realm", "provider")
#: Without a sign for so long an account is dormant, milliseconds; with so many failures somebody may be trying it.
DORMANT, FAILING = 90 * 86_400_000, 5
#: Lists that are one click away.
_LISTS: Sequence[tuple[str, Mapping[str, str]]] = (
    ("Everybody", {}),
    ("Dormant for 90 days", {"dormant_since": "90d", "sort": "last"}),
    ("5 failures or more since the last success", {"failures_min": "5", "sort": "-failures"}),
)
#: Buckets of the chart: how they are called, and how a bar's name is written.
BUCKETS = {"day": ("Day", "%m-%d"), "month": ("Month", "%Y-%m")}
_LABELS = 5


# Everybody


async def show_all(visit: Visit) -> web.Response:
    """The list. It is asked for when the form is sent and not while somebody types, as each look at people is
    recorded."""
    typed = {name: visit.request.query.get(name, "").strip() for name in _FILTERS}
    given = {name: text for name, text in typed.items() if text}
    query = visit.request.query
    if "" in query.values():
        # The form has empty fields; an address to pass on has none.
        return visit.redirect(_address(PATH, {name: text for name, text in query.items() if text}))
    sort, cursor = query.get("sort", "-last"), query.get("cursor")
    asked: dict[str, Any] = {**given, "sort": sort, "limit": _LIMIT, "cursor": cursor}
    page: dict[str, Any] = {"people": [], "next": None, "since": None}
    wrong: Refused | None = None
    try:
        page = await visit.get("/people", asked)
    except Refused as error:
        if error.status not in (400, 429, 503):
            raise
        wrong = error
    visit.command(_command(given, sort))
    here = {**given, **({} if sort == "-last" else {"sort": sort})}
    return visit.page(
        "people.html",
        http_status=200 if wrong is None else wrong.status,
        typed=typed,
        is_filtered=bool(given),
        sort=sort,
        sorts=list(SORTS.items()),
        lists=[(text, _address(visit.site.prefix + PATH, filters), filters == here) for text, filters in _LISTS],
        rows=[Row(one, visit.site.prefix) for one in page["people"]],
        since=page["since"],
        next=page["next"] and _address(visit.site.prefix + PATH, {**here, "cursor": page["next"]}),
        is_first=cursor is None,
        wrong=wrong,
        active_url=_address(
            f"{visit.site.prefix}{PATH}/active", {name: given[name] for name in _WHERE if name in given}
        ),
        now=time.time_ns() // 1_000_000,
        dormant=DORMANT,
        failing=FAILING,
        tried_url=_events(visit.site.prefix, user=given["q"]) if "q" in given else None,
    )


class Row:
    """An account, with the events behind each of its numbers."""

    def __init__(self, account: Mapping[str, Any], prefix: str) -> None:
        """``account``: as the API tells it."""
        self.account = account
        self.name: str = account["username"] or account["userId"]
        self.href = person_address(account["source"], account["userId"], prefix)
        self._prefix = prefix
        self._own = {"source": account["source"], "actor": account["userId"]}
        realm = account["realmId"] or account["realmName"]
        if realm is not None:
            self._own["realm"] = realm
        login = account["login"]
        self.login = None if login is None else how(login)
        self.login_href = None if login is None else f"{prefix}/ui/events/{quote(login['uid'], safe='')}"

    def at(self, moment: int) -> str:
        """The address of what it did at a time, epoch milliseconds."""
        return _events(self._prefix, **self._own, **{"from": moment, "to": moment + 1})

    @property
    def all_href(self) -> str:
        return _events(self._prefix, **self._own)

    @property
    def failures_href(self) -> str:
        """The address of the failed logins since the last success."""
        since = self.account["lastSuccess"]
        bounds = {} if since is None else {"from": since + 1}
        return _events(self._prefix, **self._own, type="access.LOGIN_ERROR", not_reason="unknown_user", **bounds)


def how(login: Mapping[str, Any]) -> str:
    """How somebody got in: by what, to what, on what and from where."""
    by = " and ".join(text.replace("_", " ") for text in (login["method"], login["factor"]) if text)
    where = login["ip"] and login["ip"] + (f" ({login['place']})" if login["place"] else "")
    parts = (("by", by), ("to", login["client"]), ("on", login["device"]), ("from", where))
    return ", ".join(f"{word} {part}" for word, part in parts if part)


def person_address(source: str, id: str, prefix: str) -> str:
    """The address of the page of a person, by one of his accounts."""
    return f"{prefix}{PATH}/{quote(f'{source}:{id}', safe='')}"


def _command(given: Mapping[str, str], sort: str) -> str:
    words = ["idp-adapter", "people", "list"]
    words += [f"--{name.replace('_', '-')}={given[name]}" for name in _OPTIONS if name in given]
    words += [] if sort == "-last" else [f"--sort={sort}"]
    if "q" in given:
        # Whoever calls himself `--url=…` is no option.
        words += ["--", given["q"]] if given["q"].startswith("-") else [given["q"]]
    return " ".join(map(shlex.quote, words))


# How many are active


async def show_active(visit: Visit) -> web.Response:
    """How many accounts were active on each day, or in each month, as a picture and as a table."""
    query = visit.request.query
    bucket = query.get("bucket", "day")
    bucket = bucket if bucket in BUCKETS else "day"
    given = {name: query.get(name) or None for name in _WHERE}
    found = await visit.get("/people/active", {"bucket": bucket, "tz": visit.zone.key, **given})
    words = ["idp-adapter", "people", "active", "--bucket", bucket, "--tz", visit.zone.key]
    words += [f"--{name}={given[name]}" for name in ("source", "realm") if given[name]]
    visit.command(" ".join(map(shlex.quote, words)))
    where = {name: value for name, value in given.items() if value}
    return visit.page(
        "people_active.html",
        chart=chart(found, where, visit.zone, visit.site.prefix),
        bucket=bucket,
        choices=[
            (text, _address(f"{visit.site.prefix}{PATH}/active", {**where, "bucket": name}), name == bucket)
            for name, (text, _) in BUCKETS.items()
        ],
        is_partial=found["partial"],
    )


class Stretch(NamedTuple):
    """A day or a month. Numbers are ``None`` where there was no time to count."""

    #: Where it begins, epoch milliseconds.
    start: int
    name: str
    seen: int | None
    logged_in: int | None
    #: What those did, and how they got in.
    href: str
    logins_href: str


class Chart(NamedTuple):
    """What is shown of active accounts."""

    picture: Any
    #: The end of the axis.
    highest: int
    #: Below the picture, at equal distances.
    labels: Sequence[str]
    stretches: Sequence[Stretch]


def chart(found: Mapping[str, Any], where: Mapping[str, str], zone: tzinfo, prefix: str) -> Chart:
    """The picture of an answer of ``/people/active``. ``where``: of which events it is; ``prefix``: what stands before
    the path of a page."""
    form = BUCKETS[found["bucket"]][1]
    edges = [*found["starts"], found["end"]]
    stretches, columns = [], []
    for number, start in enumerate(found["starts"]):
        seen, logged_in = found["seen"][number], found["loggedIn"][number]
        bounds = {**where, "from": start, "to": edges[number + 1]}
        name = datetime.fromtimestamp(start / 1000, zone).strftime(form)
        one = Stretch(
            start, name, seen, logged_in, _events(prefix, **bounds),
            _events(prefix, type="access.LOGIN", outcome="success", **bounds),
        )  # fmt: skip
        stretches.append(one)
        columns.append(Bar(name, None if seen is None else _parts(one, seen, logged_in)))
    counted = [one.seen for one in stretches if one.seen is not None]
    told = f"At most {max(counted, default=0):,} accounts in one {found['bucket']}. The table below has all numbers."
    return Chart(
        bars(columns, id="chart-active", title="Active accounts", description=told),
        round_up(highest(columns)),
        _labels([one.name for one in stretches]),
        stretches,
    )


def _parts(one: Stretch, seen: int, logged_in: int) -> list[Part]:
    """Whoever got in was seen, too: on top of those stand the others, so that the bar is as high as all."""
    return [
        Part("in", logged_in, one.logins_href, f"{logged_in:,} logged in"),
        Part("seen", max(0, seen - logged_in), one.href, f"{seen:,} seen, {logged_in:,} of them logged in"),
    ]


def _labels(names: Sequence[str]) -> list[str]:
    steps = min(_LABELS, len(names)) - 1
    return [names[number * (len(names) - 1) // max(1, steps)] for number in range(steps + 1)]


# One person


async def show(visit: Visit) -> web.Response:
    """A person: what is known, and the timeline."""
    id = visit.request.match_info["id"]
    try:
        person = await visit.get(f"/people/{quote(id, safe='')}")
    except Refused as error:
        if error.status != 409:
            raise
        return _several(visit, id, error)
    rows = [Row(one, visit.site.prefix) for one in person["accounts"]]
    asked_for = next((row for row in rows if row.account["id"] == id), None)
    cursor = visit.request.query.get("cursor") or None
    # With its source: another one may have the same id, for somebody else.
    told, problem = await _told(visit.get("/timeline", {"user": id, "limit": _STORIES, "cursor": cursor}))
    # Whoever calls himself `--url=…` is no option.
    argument = ["--", id] if id.startswith("-") else [id]
    commands = (["people", "show", *argument], ["timeline", *argument])
    visit.command("\n".join(shlex.join(["idp-adapter", *words]) for words in commands))
    main = asked_for or rows[0]
    address = f"{PATH}/{quote(id, safe='')}"
    return visit.page(
        "people_person.html",
        name=harmless(main.name),
        person=person,
        rows=rows,
        main=main,
        devices=[(one, _used(rows, one, visit)) for one in person["devices"]],
        addresses=[(one, _used(rows, one, visit, ip=one["name"])) for one in person["addresses"]],
        stories=_own(told, person["accounts"]),
        next=told["next"] and _address(visit.site.prefix + address, {"cursor": told["next"]}),
        newest=None if cursor is None else _address(visit.site.prefix + address, {}),
        problem=problem,
        prefix=visit.site.prefix,
        failing=FAILING,
    )


def _several(visit: Visit, id: str, error: Refused) -> web.Response:
    """Several accounts have the name: which one is meant?"""
    allowed = error.extra.get("allowed")
    ids = [one for one in allowed if isinstance(one, str)] if isinstance(allowed, list) else []
    accounts = [(one, f"{visit.site.prefix}{PATH}/{quote(one, safe='')}") for one in ids]
    return visit.page("people_several.html", http_status=409, asked=id, accounts=accounts)


async def _told(question: Awaitable[Any]) -> tuple[dict[str, Any], str | None]:
    """The timeline, or why there is none: the rest of the page is shown all the same."""
    try:
        return await question, None
    except Refused as error:
        if error.status not in (400, 429, 503):
            raise
        return {"items": [], "next": None, "accounts": []}, error.detail


def _own(told: Mapping[str, Any], accounts: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The stories of a timeline without those of accounts of other sources that happen to have the same id."""
    own = {(one["source"], one["userId"]) for one in accounts}
    foreign = {(one["source"], one["userId"]) for one in told["accounts"]} - own
    return [one for one in told["items"] if (one["source"], one["userId"]) not in foreign]


def _used(rows: Sequence[Row], used: Mapping[str, Any], visit: Visit, **filters: str) -> str:
    """The address of the logins from a device or an address, in the stretch in which they were."""
    return _events(
        visit.site.prefix,
        source=sorted({row.account["source"] for row in rows}),
        actor=sorted({row.account["userId"] for row in rows}),
        type="access.LOGIN",
        outcome="success",
        **filters,
        **{"from": used["first"], "to": used["last"] + 1},
    )


def _events(prefix: str, **filters: str | int | Sequence[str]) -> str:
    """The address of the page of the events behind a number."""
    pairs = [
        (name, str(one))
        for name, value in filters.items()
        for one in ([value] if isinstance(value, str | int) else value)
    ]
    return str(URL(f"{prefix}/ui/events").extend_query(pairs))


def _address(path: str, query: Mapping[str, str]) -> str:
    address = URL(path, encoded=True)
    return str(address.extend_query(query) if query else address)


SECTION = Section(
    PATH,
    "People",
    Permission.PEOPLE,
    "g p",
    (
        Route("GET", PATH, show_all),
        Route("GET", f"{PATH}/active", show_active),
        Route("GET", f"{PATH}/{{id}}", show),
    ),
    styles=("overview.css", "people.css"),
)
