"""What a realm has to be set to so that its events can be read, and what of it is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from adapter.errors import Refused
from adapter.formats.text import harmless
from adapter.sources.keycloak.server import Kind, LoginRefused, NoEpoch, Server

#: Types that Keycloak does not save by default, and that tell what became of a session.
TYPES = ("REFRESH_TOKEN", "INTROSPECT_TOKEN", "USER_INFO_REQUEST")
#: Seconds for which events should be kept there: a weekend without a poll.
KEPT = 3 * 86_400


class Finding(NamedTuple):
    """One thing that is as it should be, or is not."""

    well: bool
    #: For people; names the realm.
    text: str


class Change(NamedTuple):
    """One field of ``events/config`` that has to be another."""

    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if isinstance(self.after, list):
            return f"{self.field}: {', '.join(one for one in self.after if one not in self.before)} are added"
        return f"{self.field}: {_word(self.before)} becomes {_word(self.after)}"


def stored_problem(config: dict[str, Any], realm: str, kind: Kind, source: str) -> str | None:
    """What keeps a realm from storing events of a kind, for people; ``config`` is what ``events/config`` says."""
    name, what = ("eventsEnabled", "user events") if kind is Kind.USER else ("adminEventsEnabled", "admin events")
    if config.get(name) is True:
        return None
    return (
        f"realm {harmless(realm)}: it keeps no {what} ({name} is off), so there are none to read; "
        f"idp-adapter sources prepare {source} turns it on"
    )


async def expiration_of(server: Server, config: dict[str, Any], realm: str, kind: Kind) -> int | None:
    """After how many milliseconds a realm removes its events; 0: never; ``None``: the account may not know.

    Raises:
        NoReply: no answer came.
        LoginRefused: the account gets no token.
    """
    seconds: object = config.get("eventsExpiration", 0)
    if kind is Kind.ADMIN:
        try:
            attributes = (await server.realm(realm)).get("attributes")
        except LoginRefused:
            raise
        except Refused:
            return None
        if not isinstance(attributes, dict):
            return None
        seconds = attributes.get("adminEventsExpiration", 0)
    try:
        return max(int(str(seconds)), 0) * 1000
    except ValueError:
        return None


async def examine(server: Server, realm: str) -> list[Finding]:
    """What of a realm is as reading its events needs it, and what is not.

    Raises:
        NoReply: no answer came.
        LoginRefused: the account gets no token.
    """
    name = harmless(realm)
    try:
        config = await server.config(realm)
    except LoginRefused:
        raise
    except Refused as error:
        return [Finding(False, str(error))]
    findings = []
    lacking = {change.field for change in changes(config)}
    missing = ", ".join(one for one in TYPES if one not in (config.get("enabledEventTypes") or []))
    for field, well, wrong in (
        ("eventsEnabled", "user events are kept", "no user events are kept (eventsEnabled is off)"),
        ("adminEventsEnabled", "admin events are kept", "no admin events are kept (adminEventsEnabled is off)"),
        (
            "adminEventsDetailsEnabled",
            "admin events say what was written",
            "admin events do not say what was written (adminEventsDetailsEnabled is off)",
        ),
        ("enabledEventTypes", f"{', '.join(TYPES)} are kept", f"{missing} are not among the types that are kept"),
    ):
        findings.append(Finding(field not in lacking, f"realm {name}: {wrong if field in lacking else well}"))
    for kind, what in ((Kind.USER, "user events"), (Kind.ADMIN, "admin events")):
        kept = await expiration_of(server, config, realm, kind)
        if kept is None:
            told = f"for how long {what} are kept is unknown: give the account the role view-realm, too"
        elif kept == 0:
            told = f"{what} are kept for ever"
        else:
            told = f"{what} are kept for {kept / 86_400_000:g} days; what is not read by then is lost"
        findings.append(Finding(kept is None or kept == 0 or kept >= KEPT * 1000, f"realm {name}: {told}"))
        findings.append(await _readable(server, realm, kind, what))
    return findings


async def _readable(server: Server, realm: str, kind: Kind, what: str) -> Finding:
    try:
        try:
            page = await server.events(realm, kind, dateFrom=1, direction="asc", max=1)
            version = "26.2 or newer"
        except NoEpoch:
            page = await server.events(realm, kind, max=1)
            version = "older than 26.2: without ids"
    except LoginRefused:
        raise
    except Refused as error:
        return Finding(False, str(error))
    some = "there are some" if page.rows else "there are none yet"
    return Finding(True, f"realm {harmless(realm)}: {what} can be read ({version}); {some}")


def changes(config: dict[str, Any]) -> list[Change]:
    """What has to be another in ``events/config``."""
    found = [
        Change(name, config.get(name, False), True)
        for name in ("eventsEnabled", "adminEventsEnabled", "adminEventsDetailsEnabled")
        if config.get(name) is not True
    ]
    types: Sequence[str] = config.get("enabledEventTypes") or []
    if missing := [one for one in TYPES if one not in types]:
        found.append(Change("enabledEventTypes", list(types), [*types, *missing]))
    return found


def changed(config: dict[str, Any], wanted: Sequence[Change]) -> dict[str, Any]:
    """What is to be sent for these changes: all fields that the server would otherwise reset."""
    new = {name: value for name, value in config.items() if name != "enabledEventTypes"}
    # An answer spells the default types out: sent back, the list would stay as it is for ever.
    return new | {change.field: change.after for change in wanted}


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else harmless(str(value))
