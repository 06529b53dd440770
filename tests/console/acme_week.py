"""A week at a company, as its identity providers tell it: what the pictures of the console show.

The same week each time, of which only the end moves: nothing in it depends on chance.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

_HOUR = 3_600_000
_DAY = 24 * _HOUR
_NAMESPACE = uuid.UUID("6f1d4a52-3f0b-4c55-9d0e-0b6c1f1b7a10")

SOURCES = [
    {"name": "keycloak", "provider": "keycloak"},
    {"name": "okta", "provider": "okta"},
    {"name": "customers", "provider": "onewelcome"},
    {"name": "vpn", "provider": "duo"},
]


class _Person(NamedTuple):
    name: str
    title: str
    address: str
    browser: str
    os: str


_PEOPLE = [
    _Person("anna.berg", "Anna Berg", "203.0.113.24", "Firefox", "Windows"),
    _Person("tom.visser", "Tom Visser", "203.0.113.31", "Chrome", "Linux"),
    _Person("li.chen", "Li Chen", "198.51.100.17", "Safari", "Mac OS X"),
    _Person("sam.jones", "Sam Jones", "203.0.113.40", "Edge", "Windows"),
    _Person("zoe.klein", "Zoe Klein", "192.0.2.80", "Firefox", "Linux"),
    _Person("omar.haddad", "Omar Haddad", "198.51.100.44", "Chrome", "Android"),
    _Person("eva.novak", "Eva Novak", "192.0.2.113", "Safari", "iOS"),
]
#: Whose account is there, and not used.
_LEFT = _Person("max.weber", "Max Weber", "203.0.113.77", "Chrome", "Windows")
_CLIENTS = ["intranet", "shop", "wiki", "account-console"]
#: From where somebody tries everybody's password, and with whom it works in the end.
ATTACKER, ATTACKED = "198.51.100.66", "anna.berg"


@dataclass
class _Week:
    #: Epoch milliseconds.
    end: int
    chance: random.Random = field(default_factory=lambda: random.Random(14))
    events: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {one["name"]: [] for one in SOURCES})
    made: int = 0

    def id(self) -> str:
        self.made += 1
        return str(uuid.uuid5(_NAMESPACE, str(self.made)))

    def keycloak(self, at: int, type: str, person: _Person, address: str | None = None, **more: Any) -> None:
        details = {"username": f"{person.name}@acme.example", "auth_method": "openid-connect"} | more.pop("details", {})
        self.events["keycloak"].append({
            "id": self.id(), "time": at, "type": type, "realmId": "acme", "clientId": "intranet",
            "userId": str(uuid.uuid5(_NAMESPACE, person.name)), "ipAddress": address or person.address,
            "details": details, **more,
        })  # fmt: skip

    def okta(self, at: int, person: _Person, *, failed: bool = False) -> None:
        self.events["okta"].append({
            "uuid": self.id(), "published": _written(at), "eventType": "user.session.start", "version": "0",
            "severity": "WARN" if failed else "INFO", "displayMessage": "User login to Okta",
            "actor": {
                "id": f"00u{person.name.replace('.', '')}", "type": "User",
                "alternateId": f"{person.name}@acme.example", "displayName": person.title,
            },
            "outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"} if failed else {"result": "SUCCESS"},
            "client": {"ipAddress": person.address, "userAgent": {"browser": person.browser.upper(), "os": person.os}},
            "authenticationContext": {"externalSessionId": f"trs{self.id()[:12]}"},
        })  # fmt: skip

    def duo(self, at: int, person: _Person, result: str, reason: str) -> None:
        self.events["vpn"].append({
            "access_device": {"ip": person.address, "os": person.os, "browser": person.browser},
            "application": {"key": "DIY231J8BR23QK4UKBY8", "name": "Company VPN"},
            "auth_device": {"name": f"{person.title}'s phone"},
            "email": f"{person.name}@acme.example", "event_type": "authentication", "factor": "duo_push",
            "isotimestamp": _written(at).replace("Z", "000+00:00"), "reason": reason, "result": result,
            "timestamp": at // 1000, "txid": self.id(),
            "user": {"key": f"DU{person.name.replace('.', '').upper()}", "name": f"{person.name}@acme.example"},
        })  # fmt: skip

    def customer(self, at: int, number: int, type: str, name: str) -> None:
        self.events["customers"].append({
            "version": "V2", "event_type_id": type,
            "event_type_details": {"category": "AUTHENTICATION", "name": name}, "timestamp": _written(at),
            "user": {"id": str(uuid.uuid5(_NAMESPACE, f"customer {number}")), "segment": "customers"},
            "client_application": {}, "device": {"os": "iOS", "browser": "Safari"},
            "location": {"ip": f"192.0.2.{number}"}, "authenticated_user": {"id": "login-api"},
        })  # fmt: skip

    def log_in(self, at: int, person: _Person, address: str | None = None, *, slips: int = 0) -> None:
        """A login at Keycloak after some slips, with what follows it."""
        client, session = self.chance.choice(_CLIENTS), self.id()
        for number in range(slips, 0, -1):
            self.keycloak(
                at - number * 9_000, "LOGIN_ERROR", person, address, clientId=client, error="invalid_user_credentials"
            )
        agent = {"browser": person.browser, "os": person.os}
        self.keycloak(at, "LOGIN", person, address, clientId=client, sessionId=session, details=agent)
        self.keycloak(at + 700, "CODE_TO_TOKEN", person, address, clientId=client, sessionId=session)
        self.keycloak(at + 5 * _HOUR, "LOGOUT", person, address, clientId=client, sessionId=session)


def a_week(end: int) -> dict[str, list[dict[str, Any]]]:
    """Native events by source, of the week until a time, epoch milliseconds; in the order of time."""
    week = _Week(end // _HOUR * _HOUR)
    begin = week.end - 7 * _DAY
    for hour in range(7 * 24):
        at = begin + hour * _HOUR
        for person in _on_duty(week, at):
            moment = at + week.chance.randrange(_HOUR)
            week.log_in(moment, person, slips=week.chance.choice([0, 0, 0, 1, 2]))
            if week.chance.random() < 0.5:
                week.okta(moment + 40_000, person, failed=week.chance.random() < 0.15)
            if week.chance.random() < 0.4:
                denied = week.chance.random() < 0.1
                result, reason = ("denied", "no_response") if denied else ("success", "user_approved")
                week.duo(moment + 90_000, person, result, reason)
        for _ in range(week.chance.choice([0, 1, 2])):
            moment, customer = at + week.chance.randrange(_HOUR), week.chance.randrange(2, 12)
            failed = week.chance.random() < 0.2
            week.customer(moment, customer, *(("111", "login failed: unknown user") if failed else ("101", "login")))
    # Somebody tries one password after the other, and knows one.
    night = week.end - 26 * _HOUR
    for number in range(48):
        person = _PEOPLE[number % len(_PEOPLE)]
        week.keycloak(night + number * 20_000, "LOGIN_ERROR", person, ATTACKER, error="invalid_user_credentials")
    attacked = next(one for one in _PEOPLE if one.name == ATTACKED)
    week.log_in(night + 50 * 20_000, attacked._replace(browser="Chrome", os="Linux"), ATTACKER, slips=3)
    week.keycloak(week.end - 100 * _DAY, "LOGIN", _LEFT, sessionId=week.id())
    # What the table has no row for yet.
    for number in range(5):
        week.customer(week.end - (5 - number) * _HOUR, 40 + number, "733", "passkey registered")
    last = week.end - 1
    return {name: [one for one in events if _time_of(one) <= last] for name, events in week.events.items()}


def _on_duty(week: _Week, at: int) -> Iterator[_Person]:
    """Who logs in within an hour: people work by day."""
    there = datetime.fromtimestamp(at / 1000, UTC)
    busy = 0.05 if there.weekday() > 4 or not 6 <= there.hour <= 18 else 0.6 if there.hour in (7, 8, 9) else 0.25
    for person in _PEOPLE:
        if week.chance.random() < busy:
            yield person


def _time_of(event: dict[str, Any]) -> int:
    if isinstance(found := event.get("time"), int):
        return found
    text = event.get("published") or event.get("isotimestamp") or event["timestamp"]
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def _written(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
