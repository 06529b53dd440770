"""What keys see that are limited to some realms, sources or providers: what is there where nothing else is."""

from __future__ import annotations

import itertools
import json
import random
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from adapter.settings import Permission
from tests.mapping.acme import MAPPING, write_table
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Its events have a realm, of which there is one of this name with another provider, too.
TABLE = MAPPING.replace("fields: {", "fields: {time: {path: at, as: milliseconds}, realmName: tenant, ")
SOURCES = [
    {"name": "eu", "provider": "keycloak"},
    {"name": "us", "provider": "keycloak"},
    {"name": "crm", "provider": "acme"},
]
PROVIDERS = {str(one["name"]): one["provider"] for one in SOURCES}
EVERYTHING = [str(one) for one in Permission if one is not Permission.INGEST]
LIMITS: dict[str, dict[str, list[str]]] = {
    "realm": {"realms": ["acme"]},
    "realm-of-source": {"realms": ["eu/acme"]},
    "realms": {"realms": ["us/acme", "globex-id", "crm/globex"]},
    "source": {"sources": ["eu"]},
    "provider": {"providers": ["acme"]},
    "provider-realm": {"providers": ["keycloak"], "realms": ["acme", "crm/acme"]},
    "source-provider": {"sources": ["eu", "crm"], "providers": ["keycloak"]},
    "nothing": {"realms": ["initech"]},
}
KEYS = [
    *({"name": name, "token": f"{name}-token", "permissions": EVERYTHING, **said} for name, said in LIMITS.items()),
    {"name": "poster", "token": "poster-token", "permissions": ["ingest"], "sources": ["eu", "gone"]},
    {"name": "poster-of-acme", "token": "poster-of-acme-token", "permissions": ["ingest"], "providers": ["acme"]},
]


class Sent(NamedTuple):
    """A raw event, where it is posted, and the realm that it says; none: it is quarantined or ignored."""

    source: str
    raw: dict[str, Any]
    realms: frozenset[str]


def some_events(seed: int, count: int) -> list[Sent]:
    """Events of all sources and realms; users and clients have the same names and ids everywhere."""
    chance = random.Random(seed)
    made: list[Sent] = []
    raw: dict[str, Any]
    said: dict[str, str]
    for number in range(1, count + 1):
        source = chance.choice(["eu", "us", "crm"])
        realm = chance.choice(["acme", "globex", None])
        if chance.random() < 0.15:
            raw = {"odd": number} if source != "crm" else {"id": f"q{number}", "kind": chance.choice(["odd", "out"])}
            made.append(Sent(source, raw, frozenset()))
            continue
        if source == "crm":
            raw = {"id": f"c{number}", "kind": "in", "user": chance.choice(["u1", "u2"]), "tenant": realm}
            raw["at"] = login(number)["time"]
            made.append(Sent(source, raw, frozenset({realm} if realm else ())))
            continue
        user = chance.choice(["u1", "u2", "0f7b1a52-0001-4e0a-9a57-0f0f6a1c9e99"])
        said = {"realmId": f"{realm}-id"}
        if realm is not None and chance.random() < 0.7:
            said = {"realmId": chance.choice([f"{realm}-id", "other-id"]), "realmName": realm}
        # A name is often said elsewhere than where it is asked for, and sometimes another one.
        details = {"username": chance.choice(["anna", "Zoe"])} if chance.random() < 0.4 else {}
        type = chance.choice(["LOGIN", "LOGIN_ERROR", "LOGOUT"])
        raw = login(number, **said, userId=user, details=details, type=type)
        made.append(Sent(source, raw, frozenset(said.values())))
    return made


def is_within(sent: Sent, limits: Mapping[str, Sequence[str]]) -> bool:
    named = limits.get("realms")
    return (
        sent.source in limits.get("sources", PROVIDERS)
        and PROVIDERS[sent.source] in limits.get("providers", PROVIDERS.values())
        and (
            named is None
            or not sent.realms.isdisjoint(named)
            or any(f"{sent.source}/{one}" in named for one in sent.realms)
        )
    )


class Stand:
    """A service with everything, and for each limit one with nothing but what is within."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._tables = folder / "tables"
        write_table(self._tables, TABLE.replace("  in:", "  out: {ignore: true}\n  in:"))

    async def open(self, name: str, events: Sequence[Sent]) -> Opened:
        settings = {
            "mappings": {"path": [self._tables], "look_every": 0},
            "sources": SOURCES,
            "keys": KEYS,
            "audit": {"record": []},  # or whoever may see everything sees who asked
        }
        service = await self._stack.enter_async_context(opened(self._folder / name, **settings))
        for source, posted in itertools.groupby(events, key=lambda one: one.source):
            await service.post([one.raw for one in posted], source)
        return service


@pytest.fixture(scope="module")
def events() -> list[Sent]:
    return some_events(7, 150)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        yield Stand(tmp_path_factory.mktemp("stand"), stack)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything(stand: Stand, events: list[Sent]) -> Opened:
    return await stand.open("everything", events)


def questions(seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Questions about events, some with filters of several conditions."""
    chance = random.Random(seed)
    values: dict[str, list[str]] = {
        "source": ["eu", "us", "crm", "ue"],
        "provider": ["keycloak", "acme", "amce"],
        "realm": ["acme", "globex", "acme-id", "initech"],
        "user": ["u1", "anna", "zoe", "0f7b1a52-0001-4e0a-9a57-0f0f6a1c9e99"],
        "type": ["access.LOGIN*", "LOGOUT", "system.*", "access.LOGN"],
        "outcome": ["success", "failure"],
        "client": ["account", "nothing"],
        "q": ["anna", "glob*", "acme", "u1"],
        "id": [login(5)["id"], "c7", "nothing"],
        "from": ["2023-11-14T22:13:50Z"],
    }
    for _ in range(60):
        named = chance.sample(sorted(values), chance.randint(0, 2))
        filters = {
            ("not_" if name != "from" and chance.random() < 0.3 else "") + name: chance.choice(values[name])
            for name in named
        }
        asked = chance.choice(["/events", "/events", "/events/counts", "/events/export", "/events/values"])
        if asked == "/events/values":
            fields = ["type", "source", "realm", "user", "client", "provider", "ip", "reason"]
            filters = {"field": chance.choice(fields), "prefix": chance.choice(["", "a", "k"])}
        elif asked == "/events/counts":
            if chance.random() < 0.5:
                filters |= {"from": "2023-11-14T21:15:00Z", "to": "2023-11-15T22:30:00Z"}
                filters |= {
                    "bucket": chance.choice(["hour", "day", "3h"]),
                    "tz": chance.choice(["UTC", "Asia/Kolkata"]),
                }
            filters["by"] = chance.choice(
                ["type", "source", "realm", "user", "client", "provider", "outcome", "ip", "reason"]
            )
        else:
            filters["order"] = chance.choice(["time", "log"])
            filters["names"] = chance.choice(["0", "1"])
            if filters["order"] == "log":
                filters["revisions"] = chance.choice(["0", "1"])
            if asked == "/events":
                filters["limit"] = chance.choice(["3", "1000"])
            else:
                filters["format"] = chance.choice(["unified", "csv", "keycloak"])
        yield asked, filters


#: Where an answer speaks of places in the log, of arrivals, and of chance.
_NOT_COMPARED = re.compile(r'"(next|receivedAt|position|firstAt|lastAt|since|hints)":("[^"]*"|-?\d+|null|\[[^]]*\]),?')
_IN_CSV = re.compile(r'"\d{4}-\d\d-\d\dT[^"]*"|"\d{13}"')


async def answer(service: Opened, path: str, token: str | None = None, **query: Any) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with service.session.get(path, params=query, headers=headers) as response:
        text = _NOT_COMPARED.sub("", await response.text()).replace(",}", "}")
        if path == "/events/values" and response.status == 200:
            # About how many events have a value depends on when the search added them up.
            text = str(sorted(re.findall(r'"value":"([^"]*)"', text)))
        if response.content_type == "text/csv":
            text = _IN_CSV.sub("", text)
        return response.status, text


@pytest.mark.parametrize("name", LIMITS)
async def test_an_answer_is_that_of_a_log_that_holds_nothing_else(
    stand: Stand, everything: Opened, events: list[Sent], name: str
) -> None:
    own_events = [one for one in events if is_within(one, LIMITS[name])]
    own = await stand.open(name, own_events)
    token = f"{name}-token"
    compared = 0
    # What is completed is what is filled by now; a page waits for the rest.
    await answer(own, "/events")
    for path, query in questions(len(name)):
        theirs = await answer(everything, path, token, **query)
        assert theirs == await answer(own, path, **query), (path, query)
        compared += theirs[1].count('"uid"')
    assert compared or not own_events

    # One by one: by uid, and by the provider's id, of all there are.
    for order in ("time", "log"):
        _, page = await everything.get("/events", order=order, limit=1000)
    names = {text for event in page["events"] for text in (event["uid"], event.get("id"))} | {str(uuid.UUID(int=5))}
    found = 0
    for one in sorted(filter(None, names)):
        for query in ({}, {"raw": "1", "names": "1", "sentence": "1"}):
            theirs = await answer(everything, f"/events/{one}", token, **query)
            assert theirs == await answer(own, f"/events/{one}", **query), one
            found += theirs[0] == 200
        theirs = await answer(everything, f"/events/{one}/revisions", token)
        assert theirs == await answer(own, f"/events/{one}/revisions"), one
    assert found or not own_events
    for one in sorted(filter(None, names))[:25]:
        for path, query in (
            (f"/events/{one}/around", {"minutes": "1", "limit": "1000"}),
            (f"/events/{one}/changes", {}),
        ):
            assert await answer(everything, path, token, **query) == await answer(own, path, **query), path

    for top, realm, what in itertools.product(
        ("", "/auth"), ("acme", "globex", "globex-id", "acme-id", "initech"), ("events", "admin-events")
    ):
        path = f"{top}/admin/realms/{realm}/{what}"
        status, text = await answer(everything, path, token, max="-1")
        named = LIMITS[name].get("realms")
        if named is not None and realm not in {one.rpartition("/")[2] for one in named}:
            assert status == 403, path
            continue
        assert (status, text) == await answer(own, path, max="-1"), path

    await _compare_what_has_no_realm(everything, own, token, LIMITS[name])


async def _compare_what_has_no_realm(
    everything: Opened, own: Opened, token: str, limits: Mapping[str, Sequence[str]]
) -> None:
    """What is said of sources: nothing to who is limited to realms."""
    sources = [source for source in PROVIDERS if not is_beyond(source, limits)]
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/quarantine", {}), ("/quarantine", {"source": ["eu", "crm"]}), ("/quarantine", {"provider": "keycloak"}),
        ("/quarantine", {"raw": "1", "native_type": "odd"}), ("/ignored", {}),
        ("/ignored", {"raw": "1", "source": "crm"}),
    ]  # fmt: skip
    for path, query in asked:
        status, text = await answer(everything, path, token, **query)
        if "realms" in limits:
            assert status == 403, path
            continue
        theirs, mine = json.loads(text), json.loads((await answer(own, path, **query))[1])
        assert _without_uids(theirs) == _without_uids(mine), (path, query)
    _, groups = await everything.get("/quarantine", limit=1000)
    for group in groups["groups"]:
        for sample in group["samples"]:
            seen = group["source"] in sources
            status, text = await answer(everything, f"/quarantine/{sample['uid']}", token, raw="1")
            assert status == (403 if "realms" in limits else 200 if seen else 404)
            status, text = await answer(everything, f"/events/{sample['uid']}", token)
            assert (status, group["problem"][:10] in text) == (404, seen)
    if "realms" in limits:
        for path in ("/status", "/metrics", "/mappings", "/mappings/acme"):
            assert (await answer(everything, path, token))[0] == 403
        return
    _, theirs = await everything.get("/status", token=token)
    _, mine = await own.get("/status")
    assert theirs["sinks"] == []
    assert {one["about"] for one in theirs["todo"]} <= set(sources)
    totals = {one["name"]: one["total"] for one in mine["sources"] if one["name"] in sources}
    assert {one["name"]: one["total"] for one in theirs["sources"]} == totals
    _, text = await answer(everything, "/metrics", token)
    counted = {re.sub(r" [^ ]+$", "", line) for line in text.splitlines() if not line.startswith("#")}
    assert {match[1] for line in counted if (match := re.search(r'source="([^"]*)"', line))} == set(sources)
    assert all("source=" in line for line in counted)
    _, text = await answer(own, "/metrics")
    own_lines = {line for line in text.splitlines() if line.startswith("idp_adapter_events_")}
    _, text = await answer(everything, "/metrics", token)
    their_lines = {line for line in text.splitlines() if line.startswith("idp_adapter_events_")}
    assert {line for line in their_lines if "_created" not in line} == {
        line for line in own_lines if "_created" not in line and any(f'source="{one}"' in line for one in sources)
    }
    _, tables = await everything.get("/mappings", token=token)
    assert {one["provider"] for one in tables["mappings"]} == {PROVIDERS[one] for one in sources}
    for provider in ("keycloak", "acme", "okta", "nobody"):
        status, text = await answer(everything, f"/mappings/{provider}/coverage", token, arrived="1")
        if provider not in {PROVIDERS[one] for one in sources}:
            assert status == 403
            continue
        assert (status, text) == await answer(own, f"/mappings/{provider}/coverage", arrived="1")
        _, text = await answer(everything, f"/mappings/{provider}/types", token, arrived="1")
        assert (200, text) == await answer(own, f"/mappings/{provider}/types", arrived="1")


def is_beyond(source: str, limits: Mapping[str, Sequence[str]]) -> bool:
    return "realms" in limits or not is_within(Sent(source, {}, frozenset()), limits)


def _without_uids(found: dict[str, Any]) -> dict[str, Any]:
    """What has no identity has another uid each time, and of what is ignored there are samples of some bodies."""
    for group in found["groups"]:
        if "what" in group:
            assert group.pop("samples")
            continue
        for sample in group["samples"]:
            sample.pop("uid", None)
    found["groups"].sort(key=json.dumps)
    return found


async def test_who_is_limited_is_told_to_what(everything: Opened) -> None:
    status, problem = await everything.get("/retention/preview", token="provider-realm-token")
    assert (status, problem["realms"], problem["providers"]) == (403, ["acme", "crm/acme"], ["keycloak"])
    assert "limited to realms acme, crm/acme; providers keycloak" in problem["detail"]


async def test_hints_tell_nothing_of_others(everything: Opened) -> None:
    for name in LIMITS:
        for path in ("/events", "/events/counts", "/quarantine"):
            query = {"source": "ue", "provider": "amce"} | ({"by": "type"} if path == "/events/counts" else {})
            _, page = await everything.get(path, token=f"{name}-token", **query)
            assert "hints" not in page
    _, page = await everything.get("/events", token="source-token", type="LOGN")
    assert "LOGIN" in page["hints"][0]


async def test_a_limited_key_posts_to_its_sources_alone(everything: Opened) -> None:
    async def post(token: str, source: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        async with everything.session.post(f"/ingest/{source}", json=[], headers=headers) as response:
            return response.status

    assert [await post("poster-token", one) for one in ("eu", "us", "crm", "gone", "nobody")] == [202] + [401] * 4
    assert [await post("poster-of-acme-token", one) for one in ("eu", "us", "crm", "nobody")] == [401, 401, 202, 401]
    # To post is not to read.
    assert (await everything.get("/events", token="poster-token"))[0] == 403


async def test_a_table_is_tried_on_what_its_provider_sent_by_who_sees_all_of_that(everything: Opened) -> None:
    async def diff(name: str, provider: str, **query: str) -> int:
        headers = {"Authorization": f"Bearer {name}-token"}
        path = f"/mappings/{provider}/diff"
        async with everything.session.post(path, params=query, json={"mapping": TABLE}, headers=headers) as response:
            await response.read()
            return response.status

    assert await diff("provider", "acme", received_from="-1h") == 200
    assert await diff("provider", "keycloak", received_from="-1h") == 403
    assert await diff("source", "keycloak", received_from="-1h") == 403
    assert await diff("realm", "acme") == 403


async def test_an_example_is_made_of_what_is_within(everything: Opened, events: list[Sent]) -> None:
    async def make(name: str, provider: str, uid: str) -> int:
        headers = {"Authorization": f"Bearer {name}-token"}
        path = f"/mappings/{provider}/examples"
        async with everything.session.post(path, json={"uid": uid}, headers=headers) as response:
            return response.status

    _, crm = await everything.get("/events", source="crm", limit=1)
    uid = crm["events"][0]["uid"]
    _, quarantined = await everything.get("/quarantine", source="eu")
    odd = quarantined["groups"][0]["samples"][0]["uid"]
    assert [await make("provider", "acme", one) for one in (uid, odd)] == [200, 404]
    assert await make("source", "keycloak", uid) == 404
    assert await make("source", "acme", uid) == 403


async def test_nobody_is_told_which_sources_are_reconciled(everything: Opened) -> None:
    for name, statuses in {"source": (404, 403, 403), "realm": (403, 403, 403)}.items():
        headers = {"Authorization": f"Bearer {name}-token"}
        for source, right in zip(("eu", "us", "nobody"), statuses, strict=True):
            path = f"/sources/{source}/reconciliation"
            async with everything.session.post(path, json={"from": "-1h"}, headers=headers) as response:
                assert response.status == right, (name, source)


async def test_a_limited_key_is_a_secret_of_keycloaks_clients(everything: Opened) -> None:
    form = {"grant_type": "client_credentials", "client_secret": "realm-token"}
    async with everything.session.post("/realms/acme/protocol/openid-connect/token", data=form) as response:
        assert (response.status, (await response.json())["access_token"]) == (200, "realm-token")


async def test_what_is_doubtful_of_keys_is_said_at_the_start(tmp_path: Path) -> None:
    keys = [
        {"name": "plain", "token": "plain-token"},
        {"name": "slip", "token": "slip-token", "permissions": ["metrics"], "realms": ["ue/acme"], "providers": ["k"]},
    ]
    with capture_logs() as lines:
        async with opened(tmp_path, keys=keys, sources=SOURCES[:1]):
            pass
    told = [line["problem"] for line in lines if line["event"] == "key_doubtful"]
    assert [one.partition(":")[0] for one in told] == ["keys", "keys", "keys"]
    assert "plain: read lets export" in told[0]
    assert told[1:] == [
        "keys: slip: no source is called ue; there are eu",
        "keys: slip: there is no table for the provider k",
    ]
    with capture_logs() as lines:
        strict = {"auth": {"read_exports": False}}
        async with opened(tmp_path, keys=keys[:1], sources=SOURCES[:1], **strict) as service:
            assert (await service.get("/events", token="plain-token"))[0] == 200
            assert (await service.get("/events/export", token="plain-token"))[0] == 403
    assert [line for line in lines if line["event"] == "key_doubtful"] == []


#: What callers get who are limited. Whoever adds an operation decides, and has a test above that holds it.
DECIDED: dict[str, set[tuple[str, str]]] = {
    "everybody gets the same": {
        ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/openapi.json"), ("GET", "/.well-known/jwks.json"),
        ("GET", "/realms/{realm}/protocol/openid-connect/certs"),
        ("GET", "/auth/realms/{realm}/protocol/openid-connect/certs"),
        ("POST", "/realms/{realm}/protocol/openid-connect/token"),
        ("POST", "/auth/realms/{realm}/protocol/openid-connect/token"),
        ("DELETE", "/admin/realms/{realm}/events"), ("DELETE", "/admin/realms/{realm}/admin-events"),
        ("DELETE", "/auth/admin/realms/{realm}/events"), ("DELETE", "/auth/admin/realms/{realm}/admin-events"),
    },
    # No key of the service counts there (tests/console).
    "by a link alone": {
        ("GET", "/links/{name}/"), ("GET", "/links/{name}/attempts"), ("GET", "/links/{name}/dead"),
        ("GET", "/links/{name}/{token}"), ("POST", "/links/{name}/test"), ("POST", "/links/{name}/rotate"),
        ("POST", "/links/{name}/replay"), ("POST", "/links/{name}/resend"),
    },
    "only of their sources": {("POST", "/ingest/{source}"), ("GET", "/ingest/{source}")},
    "by event": {
        ("GET", "/events"), ("GET", "/events/export"), ("GET", "/events/{uid}"), ("GET", "/events/counts"),
        ("GET", "/events/values"), ("GET", "/events/live"), ("GET", "/timeline"), ("GET", "/people"),
        ("GET", "/people/active"), ("GET", "/people/{id}"),
        ("GET", "/events/{uid}/deliveries"), ("GET", "/events/{uid}/changes"), ("GET", "/events/{uid}/around"),
        ("GET", "/events/{uid}/revisions"), ("GET", "/events/{uid}/explain"),
        ("GET", "/admin/realms/{realm}/events"), ("GET", "/admin/realms/{realm}/admin-events"),
        ("GET", "/auth/admin/realms/{realm}/events"), ("GET", "/auth/admin/realms/{realm}/admin-events"),
        # Webhooks of a realm have its events alone; others are not shown.
        *(
            (method, f"{top}/realms/{{realm}}{path}")
            for top in ("", "/auth")
            for method, path in (
                ("POST", "/events"), ("GET", "/webhooks"), ("POST", "/webhooks"), ("GET", "/webhooks/count"),
                ("GET", "/webhooks/{id}"), ("PUT", "/webhooks/{id}"), ("DELETE", "/webhooks/{id}"),
                ("GET", "/webhooks/{id}/secret"), ("GET", "/webhooks/{id}/sends"),
                ("GET", "/webhooks/{id}/sends/{sid}"), ("POST", "/webhooks/{id}/sends/{sid}/resend"),
                ("GET", "/webhooks/payload/{type}/{kid}"), ("GET", "/webhooks/sends/{type}/{kid}"),
            )
        ),
    },
    "those of their limits": {
        # Who signs in by it has the limits of the key that made it.
        ("POST", "/console/links"),
        ("GET", "/searches"), ("GET", "/searches/{name}"), ("PUT", "/searches/{name}"), ("DELETE", "/searches/{name}"),
    },
    "by source": {
        ("GET", "/quarantine"), ("GET", "/quarantine/{uid}"), ("GET", "/ignored"), ("GET", "/status"),
        ("GET", "/metrics"), ("GET", "/mappings"), ("GET", "/mappings/{provider}"),
        ("GET", "/mappings/{provider}/coverage"), ("POST", "/mappings/{provider}/check"),
        ("GET", "/mappings/{provider}/types"), ("GET", "/mappings/{provider}/words"),
        ("GET", "/mappings/{provider}/examples"),
        ("POST", "/mappings/{provider}/apply"), ("POST", "/mappings/{provider}/explain"),
        ("POST", "/mappings/{provider}/diff"), ("POST", "/mappings/{provider}/examples"),
        ("POST", "/sources/{name}/reconciliation"), ("GET", "/sources"),
        ("GET", "/sources/{name}"),
    },
    "refused": {
        ("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/{name}"),
        ("GET", "/sessions"), ("DELETE", "/sessions/{id}"),
        # They change what all sources of a provider become, or write files beside others' tables.
        ("POST", "/mappings/{provider}/reload"), ("POST", "/mappings/{provider}/new"),
        ("POST", "/mappings/{provider}/accept"), ("PUT", "/mappings/{provider}"), ("DELETE", "/mappings/{provider}"),
        # There is one job for the whole log.
        ("POST", "/renormalization"), ("GET", "/renormalization"), ("DELETE", "/renormalization"),
        ("POST", "/scrub"), ("GET", "/scrub"), ("DELETE", "/scrub"),
        ("GET", "/retention/preview"), ("GET", "/statement-key"),
        # A sink has events of all.
        ("GET", "/sinks"), ("POST", "/sinks"), ("POST", "/sinks/check"), ("GET", "/sinks/{name}"),
        ("PUT", "/sinks/{name}"), ("PATCH", "/sinks/{name}"), ("DELETE", "/sinks/{name}"),
        ("POST", "/sinks/{name}/pause"), ("POST", "/sinks/{name}/resume"), ("POST", "/sinks/{name}/test"),
        ("POST", "/sinks/{name}/rotate"), ("POST", "/sinks/{name}/audit"), ("GET", "/sinks/{name}/audit"),
        ("DELETE", "/sinks/{name}/audit"),
        ("GET", "/sinks/{name}/links"), ("POST", "/sinks/{name}/links"), ("DELETE", "/sinks/{name}/links/{id}"),
        ("GET", "/sinks/{name}/stats"), ("POST", "/sinks/{name}/skip"),
        ("POST", "/sinks/{name}/compare"),
        ("GET", "/sinks/{name}/attempts"), ("GET", "/sinks/{name}/held"), ("GET", "/sinks/{name}/dead"),
        ("POST", "/sinks/{name}/resend"),
        ("POST", "/sinks/{name}/replay"), ("GET", "/sinks/{name}/replay"), ("DELETE", "/sinks/{name}/replay"),
    },
}  # fmt: skip


async def test_it_is_decided_of_every_operation_what_limited_callers_get(everything: Opened) -> None:
    _, document = await everything.get("/openapi.json")
    there = {(method.upper(), path) for path, page in document["paths"].items() for method in page if method != "head"}
    decided = [one for group in DECIDED.values() for one in group]
    assert len(decided) == len(set(decided))
    assert there == set(decided)


@pytest.mark.parametrize("name", LIMITS)
async def test_what_is_refused_to_limited_callers_is_refused(everything: Opened, name: str) -> None:
    headers = {"Authorization": f"Bearer {name}-token"}
    groups = ["refused", "by source"] if "realms" in LIMITS[name] else ["refused"]
    for method, path in sorted(one for group in groups for one in DECIDED[group]):
        for provider in ("keycloak", "acme"):
            filled = path.format(provider=provider, uid="x", name="eu", id="x")
            async with everything.session.request(method, filled, headers=headers) as response:
                problem = await response.json()
                assert (response.status, "limited to" in problem["detail"]) == (403, True), (method, filled)
