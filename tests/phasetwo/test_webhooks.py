"""Webhooks of Phase Two's API at work: what reaches a receiver, what nobody may do, and what stays."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.e2e.process import until
from tests.phasetwo.stand import SECRET, Sent, Stand, stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    {"name": "keeper", "token": "keeper-token", "permissions": ["read", "sinks", "publish"]},
    {"name": "of-eu", "token": "of-eu-token", "permissions": ["read", "sinks", "publish"], "realms": ["eu/acme"]},
    {"name": "of-us", "token": "of-us-token", "permissions": ["read", "sinks", "publish"], "realms": ["us/acme"]},
    {"name": "of-keycloak", "token": "of-keycloak-token", "permissions": ["read", "sinks"], "sources": ["eu"]},
]
SOURCES = [{"name": name, "provider": "keycloak"} for name in ("keycloak", "eu", "us")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    folder = tmp_path_factory.mktemp("webhooks")
    async with stand(folder, ["acme", "globex", "hostile"], keys=KEYS, sources=SOURCES) as one:
        yield one


# What is delivered


#: Types as people write them, and which of those below they mean.
CHOSEN: list[tuple[list[str], list[str]]] = [
    (["access.LOGIN"], ["access.LOGIN"]),
    (["access.*"], ["access.LOGIN", "access.LOGIN_ERROR", "access.FEDERATED_IDENTITY_LINK"]),
    (["admin.USER-*"], ["admin.USER-CREATE"]),
    (["admin.USER-.*"], ["admin.USER-CREATE"]),
    (["access.LOGIN(_ERROR)?"], ["access.LOGIN", "access.LOGIN_ERROR"]),
    (["*.LOGIN_ERROR"], ["access.LOGIN_ERROR"]),
    ([r"foo\.[a-z]{3}", "admin.*"], ["foo.bar", "admin.USER-CREATE"]),
    (["access.SOCIAL_LINK"], ["access.FEDERATED_IDENTITY_LINK"]),
    (["access.LOGI", "LOGIN.*", "ACCESS.LOGIN", "system.*"], []),
    ([], []),
]


async def test_types_globs_and_expressions_choose(here: Stand) -> None:
    ids = [await here.webhook(f"/chosen/{n}", eventTypes=types) for n, (types, _) in enumerate(CHOSEN)]
    await here.log_in()
    await here.log_in(type="LOGIN_ERROR", error="user_not_found")
    await here.log_in(type="FEDERATED_IDENTITY_LINK")
    await here.make_user()
    await here.publish("foo.bar")
    for number, (id, (types, wanted)) in enumerate(zip(ids, CHOSEN, strict=True)):
        await until(partial(is_past_all, here, id))
        found = [one.event["type"] for one in here.hook.at(f"/chosen/{number}")]
        assert sorted(found) == sorted(wanted), types
        assert (await here.manage("GET", f"/webhooks/{id}"))["eventTypes"] == types
    await asyncio.gather(*(here.manage("DELETE", f"/webhooks/{id}", status=204) for id in ids))


async def is_past_all(here: Stand, id: str) -> bool:
    """Whether a webhook has nothing left to send."""
    found = (await here.service.get(f"/sinks/phasetwo-{id}"))[1]
    return bool(found["lag"] == 0 and not found["counts"]["inFlight"])


@pytest.mark.parametrize("digest", ["sha256", "sha1"])
async def test_the_secret_signs_each_post(here: Stand, digest: str) -> None:
    path = f"/signed/{digest}"
    id = await here.webhook(path, secret=SECRET, algorithm=f"hmac{digest}")
    assert (await here.manage("GET", f"/webhooks/{id}"))["algorithm"] == f"Hmac{digest.upper()}"
    raw = await here.log_in()
    [sent] = await here.hook.has(path, 1)
    assert sent.is_signed(digest=digest)
    assert not sent.is_signed("another", digest)
    event = sent.event
    assert (event["id"], event["type"], event["realmName"]) == (raw["id"], "access.LOGIN", "acme")
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


async def test_a_bearer_token_names_realm_audience_and_body(here: Stand) -> None:
    id = await here.webhook("/bearer", authType="bearer", audience="soc")
    await here.log_in()
    [sent] = await here.hook.has("/bearer", 1)
    issuer = here.realms["acme"].issuer
    # The keys are those that the adapter shows for the realm.
    _, keys = await here.service.get("/realms/acme/protocol/openid-connect/certs")
    scheme, _, token = sent.headers["Authorization"].partition(" ")
    claims = jwt.decode(token, KeySet.import_key_set(keys), algorithms=["RS256"]).claims
    wanted = ("Bearer", issuer, "soc", hashlib.sha256(sent.body).hexdigest())
    assert (scheme, claims["iss"], claims["aud"], claims["request_body_sha256"]) == wanted
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


async def test_headers_prove_who_sends_and_are_not_shown(here: Stand) -> None:
    id = await here.webhook("/headers", authType="headers", headers={"X-Api-Key": "k-12345"})
    await here.log_in()
    [sent] = await here.hook.has("/headers", 1)
    assert sent.headers["X-Api-Key"] == "k-12345"
    shown = await here.manage("GET", f"/webhooks/{id}")
    assert (shown["authType"], shown["headers"]) == ("headers", {"X-Api-Key": "<kept>"})
    # What was read may be sent back.
    await here.manage("PUT", f"/webhooks/{id}", {**shown, "eventTypes": ["access.*"]}, status=204)
    await here.log_in()
    assert (await here.hook.has("/headers", 2))[1].headers["X-Api-Key"] == "k-12345"
    # The values are for the host that they were given for.
    other = {"url": "https://receiver.example/"}
    assert "another host" in (await here.manage("PUT", f"/webhooks/{id}", other, status=400))["detail"]
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


@pytest.mark.parametrize("format", ["azure-sentinel", "datadog", "google-secops", "csv", "other"])
async def test_a_payload_format_is_kept_and_what_is_sent_can_be_read(here: Stand, format: str) -> None:
    id = await here.webhook(f"/format/{format}", payloadFormat=format)
    assert (await here.manage("GET", f"/webhooks/{id}"))["payloadFormat"] == format
    raw = await here.log_in()
    [sent] = await here.hook.has(f"/format/{format}", 1)
    assert sent.event["id"] == raw["id"]
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


async def test_a_disabled_webhook_gets_nothing_until_it_is_enabled(here: Stand) -> None:
    token = here.token("acme", "manage-events")
    given = {"url": here.hook.url + "/disabled", "eventTypes": ["*"]}
    status, headers, answer = await here.ask("POST", "/realms/acme/webhooks", given, token=token)
    assert (status, answer, "disabled" in headers["Warning"]) == (201, None, True)
    id = headers["Location"].rpartition("/")[2]
    raw = await here.log_in()
    await asyncio.sleep(0.3)
    assert here.hook.at("/disabled") == []
    await here.manage("PUT", f"/webhooks/{id}", {"enabled": "true"}, status=204)
    [sent] = await here.hook.has("/disabled", 1)
    assert sent.event["id"] == raw["id"]
    await here.manage("PUT", f"/webhooks/{id}", {"enabled": False}, status=204)
    # What is refused changes nothing.
    await here.manage("PUT", f"/webhooks/{id}", {"enabled": True, "url": "nowhere"}, status=400)
    await here.log_in()
    await asyncio.sleep(0.3)
    assert len(here.hook.at("/disabled")) == 1
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


# What is left out stays


async def test_what_a_put_leaves_out_stays(here: Stand) -> None:
    id = await here.webhook("/kept", secret=SECRET, eventTypes=["access.*"])
    to, types = {"url": here.hook.url + "/kept/2"}, {"eventTypes": ["access.LOGIN"]}
    puts: list[dict[str, Any]] = [{}, to, types, {"secret": ""}, {"eventTypes": []}]
    for changes in puts:
        await here.manage("PUT", f"/webhooks/{id}", changes, status=204)
        shown = await here.manage("GET", f"/webhooks/{id}")
        assert (shown["enabled"], shown["authType"], shown["algorithm"]) == (True, "hmac", "HmacSHA256")
    assert (shown["url"], shown["eventTypes"]) == (here.hook.url + "/kept/2", ["access.LOGIN"])
    await here.log_in()
    assert (await here.hook.has("/kept/2", 1))[0].is_signed()
    # Somebody who means it says so, and the secret is still there when he comes back.
    await here.manage("PUT", f"/webhooks/{id}", {"authType": "none"}, status=204)
    await here.log_in()
    assert "X-Keycloak-Signature" not in (await here.hook.has("/kept/2", 2))[1].headers
    await here.manage("PUT", f"/webhooks/{id}", {"authType": "hmac"}, status=204)
    await here.log_in()
    assert (await here.hook.has("/kept/2", 3))[2].is_signed()
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


async def test_settings_of_the_sink_that_have_no_place_here_stay(here: Stand) -> None:
    id = await here.webhook("/sink", eventTypes=["access.*"])
    sink = f"/sinks/phasetwo-{id}"
    changes = {"window": 3, "filter": {"client": ["account"], "type": ["access.LOGIN"]}}
    async with here.service.session.patch(sink, json=changes) as response:
        assert response.status == 200
    assert (await here.manage("GET", f"/webhooks/{id}"))["eventTypes"] == ["access.LOGIN"]
    await here.manage("PUT", f"/webhooks/{id}", {"eventTypes": ["admin.*"]}, status=204)
    settings = (await here.service.get(sink))[1]["settings"]
    assert (settings["window"], settings["attempts"]) == (3, "all")
    assert settings["filter"] == {"realm": ["acme"], "client": ["account"], "type": ["admin.*"]}
    # What is said counts, also where it was said before.
    async with here.service.session.patch(sink, json={"filter": {"type": ["foo.*"]}}) as response:
        assert response.status == 200
    await here.manage("PUT", f"/webhooks/{id}", {"eventTypes": ["admin.*"]}, status=204)
    assert (await here.service.get(sink))[1]["settings"]["filter"]["type"] == ["admin.*"]
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"url": ""}, "url"),
        ({"url": "ftp://receiver.example/"}, "url"),
        ({"url": "https://user:word@receiver.example/"}, "url"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "https://receiver.example/" + "x" * 2048}, "url"),
        ({"eventTypes": ["(?=x)"]}, "eventTypes"),
        ({"eventTypes": ["["]}, "eventTypes"),
        ({"eventTypes": [""]}, "eventTypes"),
        ({"eventTypes": ["x" * 256]}, "eventTypes"),
        ({"eventTypes": ["x"] * 101}, "eventTypes"),
        ({"eventTypes": [f"({'a' * n}){{1,90}}" for n in range(2, 99)]}, "too large together"),
        ({"eventTypes": "access.LOGIN"}, "eventTypes"),
        ({"authType": "hmac"}, "secret"),
        ({"authType": "mtls"}, "authType"),
        ({"authType": "headers"}, "headers"),
        ({"authType": "headers", "headers": {"Host": "inner"}}, "auth"),
        ({"authType": "headers", "headers": {"X": "a\r\nY: b"}}, "auth"),
        ({"secret": "s", "algorithm": "MD5"}, "algorithm"),
        ({"secret": "s" * 256}, "secret"),
        ({"enabled": "perhaps"}, "enabled"),
    ],
    ids=lambda one: str(one)[:60],
)
async def test_a_webhook_that_cannot_be_is_refused(here: Stand, given: dict[str, Any], named: str) -> None:
    body = {"enabled": True, "url": "https://receiver.example/", "eventTypes": ["*"], **given}
    answer = await here.manage("POST", "/webhooks", body, status=400)
    assert named in answer["detail"]
    assert answer["error"] == answer["detail"]


async def test_what_is_no_representation_is_refused(here: Stand) -> None:
    wrong: list[Any] = [[], "text", {"url": 5}]
    for body in wrong:
        await here.manage("POST", "/webhooks", body, status=400)
    await here.manage("POST", "/webhooks", {"url": "https://receiver.example/", "x": "x" * 70_000}, status=413)
    await here.manage("GET", "/webhooks?first=x", status=400)
    assert await here.manage("GET", "/webhooks?first=99999999999999&max=-5") == []


# Realms


async def test_a_webhook_gets_events_of_its_realm_alone(here: Stand) -> None:
    id, other = await here.webhook("/acme"), await here.webhook("/globex", realm="globex")
    mine = [(await here.log_in())["id"] for _ in range(3)]
    await here.publish("foo.bar", realm="globex", realmName="acme", realmId="acme")
    theirs = (await here.log_in("globex"))["id"]
    await here.hook.has("/acme", 3)
    await here.hook.has("/globex", 2)
    await until(lambda: is_past_all(here, id))
    assert [one.event["id"] for one in here.hook.at("/acme")] == mine
    assert [one.event.get("id") for one in here.hook.at("/globex")] == [None, theirs]
    # Nobody else sees it, or what was sent to it.
    for path in ("", "/secret", "/sends", "/sends/x"):
        await here.manage("GET", f"/webhooks/{id}{path}", realm="globex", status=404)
    await here.manage("PUT", f"/webhooks/{id}", {"enabled": False}, realm="globex", status=404)
    await here.manage("DELETE", f"/webhooks/{id}", realm="globex", status=404)
    token = here.token("globex", "manage-events", "view-events", "publish-events")
    for method, path in (("GET", "/webhooks"), ("GET", f"/webhooks/{id}"), ("POST", "/webhooks"), ("POST", "/events")):
        status, _, answer = await here.ask(method, f"/realms/acme{path}", {} if method == "POST" else None, token=token)
        assert (status, "limited to" in answer["detail"]) == (403, True)
    assert await here.manage("GET", f"/webhooks/sends/user/{mine[0]}", realm="globex") == []
    await here.manage("GET", f"/webhooks/payload/user/{mine[0]}", realm="globex", status=404)
    listed = await here.manage("GET", "/webhooks", realm="globex")
    assert [one["id"] for one in listed] == [other]
    await here.manage("DELETE", f"/webhooks/{id}", status=204)
    await here.manage("DELETE", f"/webhooks/{other}", realm="globex", status=204)


async def test_realms_of_one_name_are_kept_apart(here: Stand) -> None:
    given = {"enabled": True, "eventTypes": ["*"]}
    for name in ("eu", "us"):
        body = {**given, "url": f"{here.hook.url}/{name}"}
        status, headers, _ = await here.ask("POST", "/realms/acme/webhooks", body, token=f"of-{name}-token")
        assert status == 201
    id = headers["Location"].rpartition("/")[2]
    for name in ("eu", "us"):
        _, _, listed = await here.ask("GET", "/realms/acme/webhooks", token=f"of-{name}-token")
        assert [one["url"] for one in listed] == [f"{here.hook.url}/{name}"]
    assert (await here.ask("GET", f"/realms/acme/webhooks/{id}", token="of-eu-token"))[0] == 404
    # Who sees all of the realm sees both; he changes one without widening it.
    assert len(await here.manage("GET", "/webhooks")) == 2
    await here.manage("PUT", f"/webhooks/{id}", {"eventTypes": ["access.*"]}, status=204)
    raw = {"id": "e-1", "time": 1_700_000_000_000, "type": "LOGIN", "realmId": "acme-id", "realmName": "acme"}
    await here.service.post({**raw, "id": "u-1"}, "us")
    await here.service.post({**raw, "id": "e-1"}, "eu")
    await here.service.post({**raw, "id": "u-2"}, "us")
    assert [one.event["id"] for one in await here.hook.has("/us", 2)] == ["u-1", "u-2"]
    assert [one.event["id"] for one in await here.hook.has("/eu", 1)] == ["e-1"]
    # A key without a realm, but with a source, is within that source in every realm.
    assert len((await here.ask("GET", "/realms/acme/webhooks", token="of-keycloak-token"))[2]) == 1
    # Published events are of no source that these may see.
    assert (await here.ask("POST", "/realms/acme/events", {"type": "foo.bar"}, token="of-eu-token"))[0] == 403
    for one in await here.manage("GET", "/webhooks"):
        await here.manage("DELETE", f"/webhooks/{one['id']}", status=204)


async def test_sinks_that_were_not_made_here_are_not_shown_here(here: Stand) -> None:
    sink = {
        "name": "phasetwo-mine",
        "kind": "webhook",
        "url": "https://receiver.example/",
        "filter": {"realm": ["acme"]},
    }
    async with here.service.session.post("/sinks", json=sink) as response:
        assert response.status == 201
    assert await here.manage("GET", "/webhooks") == []
    for method, path in (("GET", ""), ("GET", "/secret"), ("PUT", ""), ("DELETE", "")):
        await here.manage(method, f"/webhooks/mine{path}", {} if method == "PUT" else None, status=404)
    async with here.service.session.delete("/sinks/phasetwo-mine?force=1") as response:
        assert response.status == 200


async def test_a_limited_filter_shows_no_sends_of_other_realms(here: Stand) -> None:
    """An administrator may widen a sink; who may see one realm sees sends of that one alone."""
    id = await here.webhook("/widened")
    async with here.service.session.patch(f"/sinks/phasetwo-{id}", json={"filter": {"realm": None}}) as response:
        assert response.status == 200
    theirs, mine = (await here.log_in("globex"))["id"], (await here.log_in())["id"]
    sent = await here.hook.has("/widened", 2)
    await until(lambda: are_told(here, id, 1))
    [shown] = await here.manage("GET", f"/webhooks/{id}/sends")
    assert shown["keycloak_event_id"] == mine
    [hidden] = [one.event["uid"] for one in sent if one.event["id"] == theirs]
    await here.manage("GET", f"/webhooks/{id}/sends/{hidden}", status=404)
    await here.manage("POST", f"/webhooks/{id}/sends/{hidden}/resend", status=404)
    # The next change narrows it again.
    await here.manage("PUT", f"/webhooks/{id}", {}, status=204)
    settings = (await here.service.get(f"/sinks/phasetwo-{id}"))[1]["settings"]
    assert settings["filter"]["realm"] == ["acme"]
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


async def are_told(here: Stand, id: str, count: int) -> bool:
    return len(await here.manage("GET", f"/webhooks/{id}/sends")) == count


# Sends


async def test_a_resend_carries_the_same_uid_and_is_told(here: Stand) -> None:
    id = await here.webhook("/again", secret=SECRET)
    await here.log_in()
    await here.log_in()
    [first, _] = await here.hook.has("/again", 2)
    await until(lambda: are_told(here, id, 2))
    uid = first.event["uid"]
    await here.manage("POST", f"/webhooks/{id}/sends/{uid}/resend", status=202)
    sent = await here.hook.has("/again", 3)
    assert (sent[2].event, sent[2].body, sent[2].is_signed()) == (first.event, first.body, True)
    await until(lambda: tries_of(here, id, uid, 2))
    [latest, other] = await here.manage("GET", f"/webhooks/{id}/sends")
    assert (latest["id"], latest["retries"], latest["status_message"]) == (uid, 2, "HTTP 204 No Content")
    assert (other["retries"], latest["sent_at"] >= other["sent_at"]) == (1, True)
    assert await here.manage("GET", f"/webhooks/{id}/sends?first=1&max=1") == [other]
    one = await here.manage("GET", f"/webhooks/{id}/sends/{uid}")
    assert json.loads(one["payload"]) == first.event
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


async def tries_of(here: Stand, id: str, uid: str, count: int) -> bool:
    return bool((await here.manage("GET", f"/webhooks/{id}/sends/{uid}"))["retries"] == count)


async def test_failures_are_told_with_their_status(here: Stand) -> None:
    here.hook.status = 418
    try:
        id = await here.webhook("/refusing")
        await here.log_in()
        await here.hook.has("/refusing", 1)
        await until(lambda: are_told(here, id, 1))
        [shown] = await here.manage("GET", f"/webhooks/{id}/sends")
        assert (shown["status"], shown["status_message"]) == (418, "HTTP 418 I'm a Teapot")
    finally:
        here.hook.status = 204
    await here.manage("POST", f"/webhooks/{id}/sends/{shown['id']}/resend", status=202)
    await here.hook.has("/refusing", 2)
    await until(lambda: status_of(here, id, 204))
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


async def test_a_receiver_that_is_not_there_is_told(here: Stand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    id = await here.webhook("/", url=f"http://127.0.0.1:{port}/")
    await here.log_in()
    await until(lambda: status_of(here, id, 999))
    [shown] = await here.manage("GET", f"/webhooks/{id}/sends")
    assert shown["status_message"].startswith("HTTP 999 ")
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


async def status_of(here: Stand, id: str, status: int) -> bool:
    return [one["status"] for one in await here.manage("GET", f"/webhooks/{id}/sends")] == [status]


# Secrets and traces


async def test_a_secret_that_is_told_leaves_a_trace(here: Stand) -> None:
    id = await here.webhook("/told", secret="SECRETOFMINE1234567")
    assert await here.manage("GET", f"/webhooks/{id}/secret") == {"type": "secret", "value": "SECRETOFMINE1234567"}
    _, found = await here.service.get("/events", type="system.AUDIT-SINK-SECRET-READ", order="log")
    [told] = [one for one in found["events"] if one["details"]["sink"] == f"phasetwo-{id}"]
    assert (told["authDetails"]["username"], told["details"]["realm"]) == ("zoe of acme", "acme")
    async with here.service.session.get(f"/sinks/phasetwo-{id}") as response:
        assert "SECRETOFMINE1234567" not in await response.text()
    # One that was made elsewhere is not told here.
    async with here.service.session.post(f"/sinks/phasetwo-{id}/rotate", json={"overlap": 0}) as response:
        assert response.status == 200
    await here.manage("GET", f"/webhooks/{id}/secret", status=404)
    # Nor does the first one come back by a change of something else.
    await here.manage("PUT", f"/webhooks/{id}", {"algorithm": "HmacSHA1"}, status=204)
    await here.log_in()
    [sent] = await here.hook.has("/told", 1)
    assert not sent.is_signed("SECRETOFMINE1234567", "sha1")
    await here.manage("DELETE", f"/webhooks/{id}", status=204)
    _, found = await here.service.get("/events", type="system.CONFIG-SINK-*", order="log", limit=1000)
    told = [one["type"] for one in found["events"] if one["details"]["sink"] == f"phasetwo-{id}"]
    assert told == [f"system.CONFIG-SINK-{what}" for what in ("CREATED", "ROTATED", "CHANGED", "DELETED")]


async def test_a_secret_takes_nothing_out_of_what_others_send(here: Stand) -> None:
    """Of a realm's own people anybody may name a word that is in everybody's events as the secret."""
    id = await here.webhook("/word", realm="hostile", secret="openid-connect-protocol")
    raw = await here.log_in(details={"username": "openid-connect-protocol"})
    _, found = await here.service.get(f"/events/{raw['id']}")
    assert found["details"]["username"] == "openid-connect-protocol"
    await here.manage("DELETE", f"/webhooks/{id}", realm="hostile", status=204)


async def test_a_realm_cannot_have_all_the_sinks(here: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.api.phasetwo_webhooks.MOST", 1)
    id = await here.webhook("/one", realm="hostile")
    body = {"url": here.hook.url, "eventTypes": ["*"]}
    answer = await here.manage("POST", "/webhooks", body, realm="hostile", status=409)
    assert "500" not in answer["detail"]
    assert "which is the most" in answer["detail"]
    other = await here.webhook("/two")
    await here.manage("DELETE", f"/webhooks/{id}", realm="hostile", status=204)
    await here.manage("DELETE", f"/webhooks/{other}", status=204)


# What is published


async def test_a_published_event_is_whose_token_it_was(here: Stand) -> None:
    id = await here.webhook("/published", eventTypes=["shop.*"])
    said: dict[str, Any] = {
        "id": "forged", "uid": "forged", "realmId": "globex", "realmName": "globex", "organizationId": "x",
        "authDetails": {"userId": "forged"}, "source": {"name": "keycloak"}, "outcome": "success",
        "time": 1_700_000_000_123, "resourceType": "ORDER",
        "details": {"a": "b", "n": 5, "t": True, "o": {"x": [1]}, "z": None},
    }  # fmt: skip
    await here.publish("shop.order", **said)
    [sent] = await here.hook.has("/published", 1)
    event = sent.event
    assert event["authDetails"] == {
        "realmId": "acme", "clientId": "cli", "userId": "0f7b1a52-0001-4e0a-9a57-0f0f6a1c9e11",
        "ipAddress": "127.0.0.1", "username": "zoe",
    }  # fmt: skip
    assert event["details"] == {"a": "b", "n": "5", "t": "true", "o": '{"x":[1]}'}
    assert (event["realmName"], event["time"], event["resourceType"]) == ("acme", 1_700_000_000_123, "ORDER")
    assert "forged" not in sent.body.decode()
    _, found = await here.service.get(f"/events/{event['uid']}")
    source = found["source"]
    assert (source["name"], source["provider"], found["outcome"]) == ("published", "published", "unknown")
    await here.publish("shop.order", error="out_of_stock")
    failed = (await here.hook.has("/published", 2))[1].event
    assert failed["error"] == "out_of_stock"
    _, found = await here.service.get(f"/events/{failed['uid']}")
    assert (found["outcome"], found["reason"]) == ("failure", "unspecified")
    assert abs(failed["time"] - found["source"]["receivedAt"]) < 1000
    await here.manage("DELETE", f"/webhooks/{id}", status=204)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 400),
        ({"type": ""}, 400),
        ({"type": " foo.bar"}, 400),
        ({"type": "foo\nbar"}, 400),
        ({"type": "x" * 256}, 400),
        ({"type": 5}, 400),
        ({"type": "aCCess.LOGIN"}, 409),
        ({"type": "\u017fystem.x"}, 409),
        ({"type": "LOGIN"}, 409),
        ({"type": "login_error"}, 409),
        ({"type": "foo", "time": 99_999_999_999_999}, 400),
        ({"type": "foo", "details": "text"}, 400),
        ({"type": "foo", "details": {str(n): "" for n in range(201)}}, 400),
        ({"type": "foo", "error": "x" * 1001}, 400),
        ({"type": "foo", "representation": "x" * 300_000}, 413),
    ],
    ids=lambda one: str(one)[:40],
)
async def test_what_is_no_event_of_an_application_is_refused(here: Stand, given: dict[str, Any], status: int) -> None:
    token = here.token("acme", "publish-events")
    found, _, answer = await here.ask("POST", "/realms/acme/events", given, token=token)
    assert found == status, answer
    assert answer["error"]


async def test_roles_are_needed(here: Stand) -> None:
    view = here.token("acme", "view-events")
    for method, path in (("POST", "/webhooks"), ("PUT", "/webhooks/x"), ("DELETE", "/webhooks/x"), ("POST", "/events"),
                         ("GET", "/webhooks/x/secret"), ("POST", "/webhooks/x/sends/y/resend")):  # fmt: skip
        assert (await here.ask(method, f"/auth/realms/acme{path}", {"type": "x.y"}, token=view))[0] == 403, path
        assert (await here.ask(method, f"/auth/realms/acme{path}", {"type": "x.y"}, token=None))[0] == 401, path
    assert (await here.ask("GET", "/auth/realms/acme/webhooks", token=view))[0] == 200


# Restart, and the switch for the Python client


async def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    async with stand(tmp_path, ["acme"]) as one:
        id = await one.webhook("/before", secret=SECRET, eventTypes=["access.LOGIN(_ERROR)?"])
        paused = await one.webhook("/paused", enabled=False)
        await one.log_in()
        [sent] = await one.hook.has("/before", 1)
        await until(lambda: are_told(one, id, 1))
        before = [await one.manage("GET", path) for path in ("/webhooks", f"/webhooks/{id}/sends")]
        names = one.realms
    # The issuer has ended: the keys of another one of its name are fetched.
    async with stand(tmp_path, ["acme"], phasetwo={"created_at": "text"}) as one:
        assert names.keys() == one.realms.keys()
        listed, sends = [await one.manage("GET", path) for path in ("/webhooks", f"/webhooks/{id}/sends")]
        assert [shown.pop("createdAt") for shown in listed] == [str(shown.pop("createdAt")) for shown in before[0]]
        assert (listed, sends) == (before[0], before[1])
        assert {shown["id"]: shown["enabled"] for shown in listed} == {id: True, paused: False}
        assert (await one.manage("GET", f"/webhooks/{id}/secret"))["value"] == SECRET
        await one.manage("PUT", f"/webhooks/{id}", {"url": one.hook.url + "/after"}, status=204)
        await one.manage("POST", f"/webhooks/{id}/sends/{sent.event['uid']}/resend", status=202)
        [again] = await one.hook.has("/after", 1)
        assert (again.event, again.is_signed()) == (sent.event, True)


async def test_the_published_vector_holds() -> None:
    body = b'{"type":"access.LOGIN","time":1700000000000}'
    signature = "fd21f806c2a79664a42d6547640fb3a3a66473502a66374d5a9b279f676dd859"
    assert Sent({"X-Keycloak-Signature": signature}, body).is_signed()
    assert base64.b16encode(hashlib.sha256(body).digest()).lower().startswith(b"bacad3b3")
