import asyncio
import gzip
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog.testing
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from adapter.errors import ConfigError
from adapter.service import open_service
from adapter.settings import Settings
from tests.opened import Opened, login, opened

#: The order in which tests name labels.
LABELS = ("source", "sink", "native_type", "type", "state", "status")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    sinks = [{"name": "copy", "kind": "file", "path": tmp_path_factory.mktemp("sink") / "copy", "from": "beginning"}]
    keys = [{"name": "scraper", "token": "scraper-token", "permissions": ["metrics"]}]
    async with opened(
        tmp_path_factory.mktemp("data"), sinks=sinks, keys=keys, server={"body_limit": 100_000}
    ) as service:
        yield service


async def metrics(service: Opened) -> dict[tuple[str, ...], float]:
    async with service.session.get("/metrics", headers={"Authorization": "Bearer scraper-token"}) as response:
        assert response.status == 200
        text = await response.text()
    return {
        (sample.name, *(sample.labels[name] for name in LABELS if name in sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def settings(folder: Path, **given: Any) -> Settings:
    return Settings.model_validate({"data": {"folder": folder}, **given})


async def test_metrics_tell_what_a_sink_is_and_promises(service: Opened) -> None:
    async with service.session.get("/metrics", headers={"Authorization": "Bearer scraper-token"}) as response:
        text = await response.text()
    info = next(one for one in text_string_to_metric_families(text) if one.name == "idp_adapter_sink_info")
    assert [one.labels for one in info.samples] == [{"sink": "copy", "kind": "file", "promise": "durable"}]


async def test_health_is_told_to_everybody(service: Opened) -> None:
    for path, body in (("/healthz", {"status": "ok"}), ("/readyz", {"status": "ready"})):
        assert await service.get(path, token="nobody") == (200, body)


async def test_there_is_a_source_for_every_provider_with_a_token_of_its_own(service: Opened) -> None:
    sources = service.service.sources
    assert [source.name for source in sources] == [source.provider for source in sources]
    assert {"keycloak", "onewelcome"} <= {source.name for source in sources}
    assert len({source.tokens for source in sources}) == len(sources)
    for source in sources:
        headers = {"Authorization": f"Bearer {source.tokens[0]}"}
        async with service.session.post(f"/ingest/{source.name}", json=[], headers=headers) as response:
            assert response.status == 202
        async with service.session.get("/events", headers=headers) as response:
            assert response.status == 401


async def test_what_is_stored_is_for_its_owner_alone(service: Opened) -> None:
    await service.post(login(90, realmId="files"))
    assert (await service.get("/events", realm="files"))[1]["events"]
    files = await asyncio.to_thread(lambda: list(service.service.folder.iterdir()))
    assert {"log.sqlite", "search.sqlite", "tokens.json"} <= {file.name for file in files}
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}


async def test_a_signature_is_made_over_the_bytes_as_they_are_sent(service: Opened) -> None:
    [token] = next(source.tokens for source in service.service.sources if source.name == "keycloak")
    body = gzip.compress(json.dumps(login(1, realmId="gzip")).encode())
    headers = {
        "Content-Encoding": "gzip",
        "Content-Type": "application/json",
        "X-Keycloak-Signature": hmac.new(token.encode(), body, hashlib.sha256).hexdigest(),
    }
    url = f"{service.service.url}/ingest/keycloak"
    async with ClientSession() as sender, sender.post(url, data=body, headers=headers) as response:
        assert response.status == 202
    assert (await service.get("/events", realm="gzip"))[1]["events"]


async def test_a_body_past_the_limit_is_a_problem_document(service: Opened) -> None:
    async with service.session.post("/ingest/keycloak", data=b" " * 100_001) as response:
        assert response.status == 413
        assert response.content_type == "application/problem+json"


async def test_metrics_count_what_came_in_and_went_out(service: Opened) -> None:
    before = await metrics(service)
    await service.post([login(10, realmId="m"), login(10, realmId="m"), login(11, realmId="m"), 42])
    after = await metrics(service)

    def grown(*name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert grown("idp_adapter_events_accepted_total", "keycloak") == 2
    assert grown("idp_adapter_events_duplicate_total", "keycloak") == 1
    assert grown("idp_adapter_log_position") == 3
    assert sum(grown(*name) for name in after if name[0] == "idp_adapter_events_quarantined_total") == 1
    assert grown("idp_adapter_commit_entries_count") == 1
    assert grown("idp_adapter_commit_entries_sum") == 3
    assert grown("idp_adapter_commit_seconds_sum") > 0
    assert ("idp_adapter_search_lag",) in after
    assert ("idp_adapter_sink_delivered_total", "copy") in after
    assert ("idp_adapter_sink_lag", "copy") in after


async def test_requests_that_are_refused_are_counted_and_the_log_says_why(service: Opened) -> None:
    before = await metrics(service)
    bodies = [
        ("keycloak", b"{}", {"Authorization": "Bearer wrong"}),
        ("keycloak", b"{}", {"X-Keycloak-Signature": "00"}),
        ("okta", b"{}", {}),
        ("nobody\x1b[2J", b"{}", {"Authorization": "Bearer wrong"}),
        ("keycloak", b"{", {"Authorization": f"Bearer {service.service.admin_token}"}),
        ("keycloak", b" " * 100_001, {"Authorization": f"Bearer {service.service.admin_token}"}),
    ]
    with structlog.testing.capture_logs() as lines:
        async with ClientSession(service.service.url) as sender:
            for source, body, headers in bodies:
                async with sender.post(
                    f"/ingest/{source}", data=body, headers={"Content-Type": "application/json", **headers}
                ) as response:
                    assert response.status >= 400
    after = await metrics(service)
    name = "idp_adapter_requests_refused_total"
    grown = {key[1:]: after[key] - before.get(key, 0) for key in after if key[0] == name}
    assert {key: count for key, count in grown.items() if count} == {
        ("keycloak", "401"): 2,
        ("okta", "401"): 1,
        ("(none)", "401"): 1,
        ("keycloak", "400"): 1,
        ("keycloak", "413"): 1,
    }
    told = [(line["source"], line["status"], line["why"]) for line in lines if line["event"] == "request_refused"]
    assert told[:4] == [
        ("keycloak", 401, "its Authorization is not that of the source"),
        ("keycloak", 401, "its X-Keycloak-Signature is no signature of this body by the source's token"),
        ("okta", 401, "it brings none of the credentials that the source's table names"),
        ("(none)", 401, "its Authorization is not that of the source"),
    ]
    assert [line[1] for line in told[4:]] == [400, 413]


async def test_readers_that_are_refused_stand_in_the_log(service: Opened) -> None:
    with structlog.testing.capture_logs() as lines:
        assert (await service.get("/events", token="wrong"))[0] == 401
        assert (await service.get("/events/x", token="scraper-token"))[0] == 403
    assert [(line["event"], line["operation"], line["status"]) for line in lines] == [
        ("request_refused", "GET /events", 401),
        ("request_refused", "GET /events/{uid}", 403),
    ]


async def test_metrics_need_their_permission(service: Opened) -> None:
    assert (await service.get("/metrics", token="nobody"))[0] == 401
    assert (await service.get("/events", token="scraper-token"))[0] == 403


async def test_hostile_native_types_stay_harmless_and_few_in_the_metrics(service: Opened) -> None:
    bad = 'x"} 1\nidp_adapter_forged{a="\u202e\x1b'
    await service.post([{"event_type_id": f"{bad}{number}"} for number in range(400)], source="onewelcome")
    async with service.session.get("/metrics") as response:
        text = await response.text()
    assert not {"\u202e", "\x1b"} & set(text)
    assert not any(line.startswith("idp_adapter_forged") for line in text.splitlines())
    names = [
        name for name in await metrics(service) if name[:2] == ("idp_adapter_events_quarantined_total", "onewelcome")
    ]
    assert 1 <= len(names) <= 201


async def test_every_operation_is_described(service: Opened) -> None:
    assert (await service.get("/openapi.json", token="nobody"))[0] == 401
    status, document = await service.get("/openapi.json")
    assert status == 200
    assert {
        "/ingest/{source}",
        "/events",
        "/events/{uid}",
        "/events/counts",
        "/events/export",
        "/events/live",
        "/events/values",
        "/timeline",
        "/people",
        "/people/active",
        "/people/{id}",
        "/healthz",
        "/readyz",
        "/metrics",
        "/ignored",
        "/mappings",
        "/mappings/{provider}",
        "/mappings/{provider}/coverage",
        "/mappings/{provider}/types",
        "/mappings/{provider}/words",
        "/mappings/{provider}/check",
        "/mappings/{provider}/new",
        "/mappings/{provider}/accept",
        "/mappings/{provider}/apply",
        "/mappings/{provider}/explain",
        "/mappings/{provider}/diff",
        "/mappings/{provider}/reload",
        "/openapi.json",
        "/quarantine",
        "/quarantine/{uid}",
        "/renormalization",
        "/retention/preview",
        "/keys",
        "/keys/{name}",
        "/sessions",
        "/sessions/{id}",
        "/console/links",
        "/sinks",
        "/sinks/check",
        "/sinks/{name}",
        "/sinks/{name}/pause",
        "/sinks/{name}/resume",
        "/sinks/{name}/rotate",
        "/sinks/{name}/test",
        "/sources",
        "/sources/{name}",
        "/sources/{name}/reconciliation",
        "/statement-key",
        "/.well-known/jwks.json",
        "/scrub",
        "/searches",
        "/searches/{name}",
        "/events/{uid}/deliveries",
        "/events/{uid}/changes",
        "/events/{uid}/around",
        "/events/{uid}/explain",
        "/events/{uid}/revisions",
        "/sinks/{name}/attempts",
        "/sinks/{name}/held",
        "/sinks/{name}/dead",
        "/sinks/{name}/replay",
        "/sinks/{name}/resend",
        "/sinks/{name}/audit",
        "/sinks/{name}/stats",
        "/sinks/{name}/skip",
        "/sinks/{name}/links",
        "/sinks/{name}/links/{id}",
        "/links/{name}/",
        "/links/{name}/attempts",
        "/links/{name}/dead",
        "/links/{name}/test",
        "/links/{name}/rotate",
        "/links/{name}/replay",
        "/links/{name}/resend",
        "/links/{name}/{token}",
        "/sinks/{name}/compare",
        "/status",
        "/mappings/{provider}/examples",
        *(
            top + path
            for top in ("", "/auth")
            for path in (
                "/admin/realms/{realm}/events",
                "/admin/realms/{realm}/admin-events",
                "/realms/{realm}/protocol/openid-connect/token",
                "/realms/{realm}/protocol/openid-connect/certs",
                "/realms/{realm}/events",
                "/realms/{realm}/webhooks",
                "/realms/{realm}/webhooks/count",
                "/realms/{realm}/webhooks/{id}",
                "/realms/{realm}/webhooks/{id}/secret",
                "/realms/{realm}/webhooks/{id}/sends",
                "/realms/{realm}/webhooks/{id}/sends/{sid}",
                "/realms/{realm}/webhooks/{id}/sends/{sid}/resend",
                "/realms/{realm}/webhooks/payload/{type}/{kid}",
                "/realms/{realm}/webhooks/sends/{type}/{kid}",
            )
        ),
    } == set(document["paths"])
    assert {"Event", "EventPage", "Received", "Problem"} <= set(document["components"]["schemas"])
    reasons = next(one for one in document["paths"]["/events"]["get"]["parameters"] if one["name"] == "reason")
    assert "bad_credentials" in reasons["schema"]["items"]["enum"]


async def test_a_source_of_an_unknown_provider_is_refused_with_those_there_are(tmp_path: Path) -> None:
    given = settings(tmp_path, sources=[{"name": "a", "provider": "nobody"}])
    with pytest.raises(ConfigError, match=r"sources: a: no table for the provider 'nobody'; there are .*keycloak"):
        async with open_service(given, port=0):
            pass


async def test_a_wrong_filter_of_a_sink_is_refused_by_its_place(tmp_path: Path) -> None:
    sink = {"name": "soc", "kind": "file", "path": tmp_path / "out", "filter": {"outcome": "maybe"}}
    with pytest.raises(ConfigError, match=r"sinks: soc: filter\.outcome: "):
        async with open_service(settings(tmp_path / "data", sinks=[sink]), port=0):
            pass


async def test_a_port_that_is_taken_is_named(service: Opened, tmp_path: Path) -> None:
    port = int(service.service.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1, port {port}"):
        async with open_service(settings(tmp_path, server={"port": port})):
            pass


async def test_a_folder_of_tables_that_is_not_there_is_named(tmp_path: Path) -> None:
    given = settings(tmp_path, mappings={"path": [tmp_path / "nowhere"]})
    with pytest.raises(ConfigError, match="nowhere: there is no such folder"):
        async with open_service(given, port=0):
            pass


async def test_events_and_tokens_outlive_the_service(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        receipts = await first.post(login(1))
    async with opened(tmp_path) as second:
        assert second.service.admin_token == first.service.admin_token
        _, page = await second.get("/events")
        assert [event["uid"] for event in page["events"]] == receipts["uids"]
        assert (await second.post(login(1)))["duplicates"] == 1


async def test_a_renamed_source_gives_its_events_the_same_uid(tmp_path: Path) -> None:
    uids = []
    for name in ("old", "new"):
        source = {"name": name, "key": "old", "provider": "keycloak", "token": "source-token"}
        async with opened(tmp_path / name, sources=[source]) as service:
            uids.append((await service.post(login(1), source=name))["uids"])
    assert uids[0] == uids[1]


async def test_a_sink_that_asks_for_what_nobody_knows_is_told_at_the_start(tmp_path: Path) -> None:
    filter = {"type": ["access.LOGN_ERROR", "access.*_ERROR"], "source": "kc"}
    sinks = [{"name": "siem", "kind": "file", "path": tmp_path / "siem", "filter": filter}]
    with structlog.testing.capture_logs() as logs:
        async with open_service(settings(tmp_path / "data", sinks=sinks), port=0):
            pass
    told = [(one["sink"], one["problem"].partition(":")[0]) for one in logs if one["event"] == "sink_filter_doubtful"]
    assert told == [("siem", "source=kc"), ("siem", "type=access.LOGN_ERROR")]
