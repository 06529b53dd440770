"""Who is known: accounts, persons, and how many are active."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Any, Literal, get_args

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.auditing import record
from adapter.api.feed import read_limit, refused
from adapter.api.operation import (
    Answer,
    Limited,
    Operation,
    Parameter,
    caller,
    scope_of_caller,
)
from adapter.api.slots import Slots
from adapter.api.stream import sent_json
from adapter.errors import RequestError
from adapter.filter import Filter
from adapter.formats.text import harmless
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.sentence import value_of
from adapter.mapping.times import read_zone
from adapter.people.known import KnownAccount, KnownPerson, Login, People, Used
from adapter.problem import Handler
from adapter.search.buckets import make_buckets
from adapter.search.people import DAY, Sort
from adapter.settings import Look, Permission
from adapter.timestamps import SCHEMA, read_timestamp

#: Accounts of a page if nobody says how many, and at most.
_LIMIT, _MOST = 50, 200
#: Buckets of an answer, and how far it goes back if nobody says from when: days, months.
_BUCKETS, _DAYS, _MONTHS = 400, 30, 12
#: The share of a question's time that is spent on counting who was active.
_SHARE = 0.5
#: Parameters that say of which events people are known.
_WHERE = {
    "source": "Name of the source",
    "realm": "Realm or tenant, id or name",
    "provider": "Kind of identity provider",
}


class LoginTold(BaseModel):
    """How somebody got in."""

    uid: str = Field(description="Of the event")
    time: int = Field(description="Epoch milliseconds")
    client: str | None
    ip: str | None
    place: str | None = Field(description="Where the address lies, as the provider says")
    method: str | None = Field(description="As details.login_method")
    factor: str | None = Field(description="The further proof, as details.factor")
    device: str | None


class AccountTold(BaseModel):
    """An account, as the events of one source and realm tell."""

    id: str = Field(description="SOURCE:USERID, by which it is asked for")
    source: str
    provider: str
    realmId: str | None
    realmName: str | None
    userId: str
    username: str | None = Field(description="The last one that is known")
    firstSeen: int = Field(description="In what is there now: see since. Epoch milliseconds, as all times")
    lastSeen: int
    lastSuccess: int | None = Field(description="When somebody got in with it last")
    login: LoginTold | None = Field(description="How that was")
    failures: int = Field(description="Failed logins since then")
    lastFailure: int | None = Field(description="The last one of these")


class AccountPage(BaseModel):
    """A page of accounts."""

    people: list[AccountTold]
    next: str | None = Field(description="The cursor of the next page; null at the end")
    since: int | None = Field(description="When the oldest event was that is there: before, nothing is known")


class LinkedAccount(AccountTold):
    """An account of a person."""

    linkedBy: str = Field(description="Why it is taken for this person's")


class UsedTold(BaseModel):
    """A device, or an address, from which somebody got in."""

    name: str
    place: str | None
    first: int = Field(description="Of the logins that were looked at")
    last: int
    logins: int


class PersonTold(BaseModel):
    """A person: accounts that are taken for one person's, and what is known of these together."""

    accounts: list[LinkedAccount]
    firstSeen: int
    lastSeen: int
    lastSuccess: int | None
    failures: int = Field(description="Failed logins of each account since the last success with that one")
    devices: list[UsedTold] = Field(description="The newest first")
    addresses: list[UsedTold] = Field(description="The newest first")
    logins: int = Field(description="From how many logins devices and addresses are: the last 500 at most")
    since: int | None = Field(description="When the oldest event was that is there: before, nothing is known")


class ActivePeople(BaseModel):
    """How many accounts were active, in each stretch of time."""

    bucket: Literal["day", "month"]
    tz: str
    starts: list[int] = Field(description="Where each begins, epoch milliseconds")
    end: int = Field(description="Where the last one ends")
    seen: list[int | None] = Field(description="Accounts that did anything; null: there was no time to count them")
    loggedIn: list[int | None] = Field(description="Accounts with which somebody got in")
    partial: bool = Field(description="Whether there was no time for all")


class PeoplePages:
    """The index of people."""

    def __init__(
        self,
        people: People,
        catalogue: Callable[[], Catalogue],
        questions: Slots,
        *,
        enabled: bool,
        question_timeout: float,
        reading_timeout: float,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """``catalogue`` gives the present one; ``questions`` bounds those that are under way; ``question_timeout``:
        seconds that one may take."""
        self._people = people
        self._catalogue = catalogue
        self._questions = questions
        self._enabled = enabled
        self._seconds = question_timeout * _SHARE
        self._reading_timeout = reading_timeout
        self._now = now

    def operations(self) -> list[Operation]:
        where = [Parameter(name, meaning, repeatable=True) for name, meaning in _WHERE.items()]
        count = {"type": "integer", "minimum": 1}
        return [
            Operation(
                "GET", "/people", only_where(self._enabled, self.list), "Accounts: when they were seen, and used last",
                {200: Answer("A page.", model=AccountPage)}, Permission.PEOPLE,
                [
                    Parameter("q", "A user id, or how a name or an e-mail address begins, in whatever case"),
                    Parameter("dormant_since", "Not seen since this timestamp: 90d", SCHEMA),
                    Parameter("failures_min", "So many failed logins since the last success, at least",
                              {**count, "minimum": 0}),
                    *where,
                    Parameter(
                        "sort", "By when it was seen or used last, or by failures; - in front: the greatest first",
                        {"type": "string", "enum": list(get_args(Sort)), "default": "-last"},
                    ),
                    Parameter("limit", "Accounts in a page", {**count, "maximum": _MOST, "default": _LIMIT}),
                    Parameter("cursor", "The place after the page before: its next"),
                ],
                limited=Limited.BY_EVENT, errors=(404,),
            ),
            Operation(
                "GET", "/people/active", only_where(self._enabled, self.active), "How many accounts were active",
                {200: Answer("In each stretch of time.", model=ActivePeople)}, Permission.PEOPLE,
                [
                    Parameter("bucket", "day or month", {"type": "string", "enum": ["day", "month"], "default": "day"}),
                    Parameter("from", "Default: 30 days, or 12 months, ago", SCHEMA),
                    Parameter("to", "Default: now", SCHEMA),
                    Parameter("tz", "The zone whose days these are: Europe/Berlin, +02:00; default: UTC"),
                    *where,
                ],
                limited=Limited.BY_EVENT, errors=(404,),
            ),
            Operation(
                "GET", "/people/{id}", only_where(self._enabled, self.show), "A person: accounts, devices, addresses",
                {200: Answer("What is known.", model=PersonTold)}, Permission.PEOPLE,
                [Parameter("id", "SOURCE:USERID, or a user id, name or e-mail address that one person has",
                           {"type": "string", "examples": ["keycloak:1f6a2c"]})],
                limited=Limited.BY_EVENT, errors=(409,),
            ),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        limit = read_limit(query.get("limit"), _LIMIT)
        if limit > _MOST:
            raise refused("limit", str(limit), f"a number from 1 to {_MOST}")
        sort = query.get("sort", "-last")
        if sort not in get_args(Sort):
            raise refused("sort", sort, "one of " + ", ".join(get_args(Sort)))
        chosen: Sort = sort  # type: ignore[assignment]
        failures = query.get("failures_min", "0")
        if not (failures.isascii() and failures.isdecimal() and len(failures) < 10):
            raise refused("failures_min", failures, "a number")
        q = query.get("q")
        if q is not None and (not q.strip() or len(q) > 200 or "\0" in q):
            raise refused("q", q[:100], "an id or the beginning of a name, of 200 characters at most")
        who = caller(request)
        with self._questions.taken(who):
            page = await self._people.page(
                self._base(request), q=q, dormant_since=self._moment(request, "dormant_since"),
                failures_min=int(failures), sort=chosen, limit=limit, cursor=query.get("cursor"), caller=who,
            )  # fmt: skip
            told = {"people": [_account(one) for one in page.accounts], "next": page.next, "since": page.since}
            return await answered(request, told, self._reading_timeout)

    async def show(self, request: web.Request) -> web.StreamResponse:
        who, id = caller(request), request.match_info["id"]
        if len(id) > 400 or "\0" in id:
            raise RequestError(404, "Not found", "Nobody is known by this id or name.")
        with self._questions.taken(who):
            found = await self._people.show(id, self._base(request), who)
            return await answered(request, _person(found), self._reading_timeout)

    async def active(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        bucket = query.get("bucket", "day")
        if bucket not in ("day", "month"):
            raise refused("bucket", bucket, "day or month")
        tz = query.get("tz", "UTC").replace(" ", "+")
        try:
            zone = read_zone(tz)
        except ValueError as error:
            raise RequestError(400, "Bad parameter", f"tz: {error}", parameter="tz") from None
        now = self._now()
        high = self._moment(request, "to") or now + 1
        low = self._moment(request, "from")
        if low is None:
            low = high - (_DAYS * DAY if bucket == "day" else _MONTHS * 28 * DAY)
        if low >= high:
            raise refused("from", query.get("from", ""), "a timestamp before to")
        try:
            starts = _starts(bucket, zone, low, high)
        except (ValueError, OverflowError):
            starts = []
        if not 2 <= len(starts) <= _BUCKETS + 1:
            raise refused("from", query.get("from", ""), f"one from which there are {_BUCKETS} buckets at most")
        who = caller(request)
        with self._questions.taken(who):
            found = await self._people.active(self._base(request), list(pairwise(starts)), self._seconds, who)
            told = {
                "bucket": bucket,
                "tz": tz,
                "starts": starts[:-1],
                "end": starts[-1],
                "seen": [None if one is None else one.seen for one in found],
                "loggedIn": [None if one is None else one.logged_in for one in found],
                "partial": None in found,
            }
            return await answered(request, told, self._reading_timeout)

    def _base(self, request: web.Request) -> Filter:
        given = {name: request.query.getall(name) for name in _WHERE if name in request.query}
        return scope_of_caller(request).bound(Filter.parse(given, self._catalogue()))

    def _moment(self, request: web.Request, name: str) -> int | None:
        text = request.query.get(name)
        if text is None:
            return None
        try:
            return read_timestamp(text, self._now())
        except ValueError as error:
            raise RequestError(400, "Bad parameter", f"{name}: {error}", parameter=name) from None


def only_where(enabled: bool, handler: Handler) -> Handler:
    """The handler, or one that says that the settings have switched it off."""
    if enabled:
        return handler

    async def refuse(request: web.Request) -> web.StreamResponse:
        raise RequestError(404, "Switched off", "The settings say so: [people] enabled = false.")

    return refuse


async def answered(request: web.Request, found: Mapping[str, Any], reading_timeout: float) -> web.StreamResponse:
    """The one way out of all that tells of people: what is to be recorded of a look at them is recorded here."""
    record(request, Look.PEOPLE)
    return await sent_json(request, orjson.dumps(_written(found)), reading_timeout=reading_timeout)


def _written(value: Any) -> Any:
    """With texts that UTF-8 can hold."""
    match value:
        case str():
            return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        case dict():
            return {name: _written(one) for name, one in value.items()}
        case list() | tuple():
            return [_written(one) for one in value]
    return value


def _starts(bucket: str, zone: tzinfo, low: int, high: int) -> list[int]:
    """Where the buckets begin, and where the last one ends."""
    if bucket == "day":
        buckets = make_buckets("day", zone, low, high)
        return [*buckets.starts, buckets.end]
    first = datetime.fromtimestamp(low / 1000, UTC).astimezone(zone)
    year, month = first.year, first.month
    starts: list[int] = []
    while not starts or starts[-1] < high:
        starts.append(int(datetime(year, month, 1, tzinfo=zone).timestamp()) * 1000)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        if len(starts) > _BUCKETS + 1:
            break
    return starts


def _account(one: KnownAccount) -> dict[str, Any]:
    known, row = one.known, one.known.row
    return {
        "id": one.id,
        "source": one.account.source,
        "provider": known.provider,
        "realmId": known.realm_id,
        "realmName": known.realm_name,
        "userId": one.account.id,
        "username": one.username,
        "firstSeen": known.first,
        "lastSeen": row.last,
        "lastSuccess": row.success,
        "login": None if one.login is None else _login(one.login),
        "failures": row.failures,
        "lastFailure": row.failed,
    }


def _login(login: Login) -> dict[str, Any]:
    event, story = login.event, login.story
    return {
        "uid": login.uid,
        "time": event.time,
        "client": value_of(event, "client"),
        "ip": None if event.address is None else harmless(event.address),
        "place": story.place,
        "method": story.method,
        "factor": story.factor,
        "device": story.device,
    }


def _person(found: KnownPerson) -> dict[str, Any]:
    rows = [one.known.row for one in found.accounts]
    successes = [row.success for row in rows if row.success is not None]
    return {
        "accounts": [{**_account(one), "linkedBy": found.person.accounts[one.account]} for one in found.accounts],
        "firstSeen": min(one.known.first for one in found.accounts),
        "lastSeen": max(row.last for row in rows),
        "lastSuccess": max(successes, default=None),
        "failures": sum(row.failures for row in rows),
        "devices": [_used(one) for one in found.devices],
        "addresses": [_used(one) for one in found.addresses],
        "logins": found.logins,
        "since": found.since,
    }


def _used(one: Used) -> dict[str, Any]:
    return dict(one._asdict())
