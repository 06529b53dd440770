"""What the service really takes and answers, held against what ``/openapi.json`` says of it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from jsonschema import Draft202012Validator

from tests.mapping.acme import MAPPING, RAW, write_example, write_table
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOGOUT = {"mapping": MAPPING.replace("LOGIN", "LOGOUT")}
#: A server that does not answer.
NOBODY = {"url": "http://127.0.0.1:1", "realms": ["acme"], "client_id": "poller", "client_secret": "none"}
CERTS = "/protocol/openid-connect/certs"
HOOKS, EVENTS = "/realms/{realm}/webhooks", "/realms/{realm}/events"
#: Operations whose answers have no JSON of ours: the text of metrics, and a hook's question.
WITHOUT_MODEL = {("get", "/metrics"), ("get", "/openapi.json"), ("get", "/ingest/{source}")}


#: Headers of HTTP itself, and those that all answers have.
ALWAYS = {
    "Cache-Control", "Content-Length", "Content-Security-Policy", "Content-Type", "Date", "Server", "Transfer-Encoding",
    "X-Content-Type-Options",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    folder = tmp_path_factory.mktemp("own")
    write_table(folder)
    write_example(folder)
    write_table(folder, MAPPING.replace("acme", "spare"), "spare")
    async with opened(
        tmp_path_factory.mktemp("data"),
        mappings={"path": [folder], "look_every": 0, "writable": True},
        sources=[
            {"name": "keycloak", "provider": "keycloak"},
            {"name": "acme", "provider": "acme"},
            {"name": "pulled", "provider": "keycloak", "pull": NOBODY},
        ],
        sinks=[{"name": "copy", "kind": "file", "path": tmp_path_factory.mktemp("sink") / "copy", "from": "beginning"}],
    ) as service:
        await service.post([RAW, {"id": "2", "kind": "odd"}], "acme")
        yield service


async def described(service: Opened) -> dict[str, Any]:
    _, document = await service.get("/openapi.json")
    assert isinstance(document, dict)
    return document


def problems(document: Mapping[str, Any], content: Mapping[str, Any], media: str, text: str) -> list[str]:
    """What is wrong with a body, by what the description says of this media type."""
    if not text and media == "application/octet-stream":
        return []  # none
    if media not in content:
        return [f"{media} is not described"]
    schema = content[media].get("schema")
    if schema is None:
        return []
    values = [json.loads(line) for line in (text.splitlines() if "ndjson" in media else [text])]
    validator = Draft202012Validator({**schema, "components": document["components"]})
    return [error.message for value in values for error in validator.iter_errors(value)]


#: The same, of what there is below /auth, too.
OF_REALM: list[tuple[str, str, str, dict[str, str], Any]] = [
    ("get", "/admin/realms/{realm}/events", "/admin/realms/realm-1/events", {"max": "2"}, None),
    ("get", "/admin/realms/{realm}/admin-events", "/admin/realms/realm-1/admin-events", {}, None),
    ("delete", "/admin/realms/{realm}/events", "/admin/realms/realm-1/events", {}, None),
    ("get", f"/realms/{{realm}}{CERTS}", f"/realms/acme{CERTS}", {}, None),
    ("post", EVENTS, "/realms/acme/events", {}, {"type": "foo.bar", "details": {"a": 1}}),
    ("post", EVENTS, "/realms/acme/events", {}, {"type": "access.LOGIN"}),
    ("post", HOOKS, "/realms/acme/webhooks", {}, {"url": "http://soc.invalid/"}),
    ("post", HOOKS, "/realms/acme/webhooks", {}, {"url": "soc"}),
    ("get", HOOKS, "/realms/acme/webhooks", {"max": "2147483647"}, None),
    ("get", f"{HOOKS}/count", "/realms/acme/webhooks/count", {}, None),
    ("get", f"{HOOKS}/{{id}}", "/realms/acme/webhooks/WEBHOOK", {}, None),
    ("put", f"{HOOKS}/{{id}}", "/realms/acme/webhooks/WEBHOOK", {}, {"secret": "s"}),
    ("get", f"{HOOKS}/{{id}}/secret", "/realms/acme/webhooks/WEBHOOK/secret", {}, None),
    ("get", f"{HOOKS}/{{id}}/sends", "/realms/acme/webhooks/WEBHOOK/sends", {}, None),
    ("get", f"{HOOKS}/sends/{{type}}/{{kid}}", "/realms/acme/webhooks/sends/user/1", {}, None),
    ("get", f"{HOOKS}/payload/{{type}}/{{kid}}", "/realms/acme/webhooks/payload/user/1", {}, None),
    ("delete", f"{HOOKS}/{{id}}", "/realms/acme/webhooks/WEBHOOK", {}, None),
]  # fmt: skip

#: Of each operation some requests: path, query, and body.
ASKED: list[tuple[str, str, str, dict[str, str], Any]] = [
    ("get", "/healthz", "/healthz", {}, None),
    ("get", "/readyz", "/readyz", {}, None),
    ("get", "/metrics", "/metrics", {}, None),
    ("get", "/openapi.json", "/openapi.json", {}, None),
    ("get", "/status", "/status", {}, None),
    ("post", "/ingest/{source}", "/ingest/keycloak", {}, [login(1), {"type": "odd"}]),
    ("post", "/ingest/{source}", "/ingest/nobody", {}, []),
    ("get", "/events", "/events", {"limit": "1"}, None),
    ("get", "/events", "/events", {"limit": "1", "names": "1", "sentence": "1"}, None),
    ("get", "/events", "/events", {"from": "-1h", "type": "nobody-knows", "order": "log"}, None),
    ("get", "/events", "/events", {"from": "soon"}, None),
    ("get", "/events/live", "/events/live", {"cursor": "made-up"}, None),
    ("get", "/events/export", "/events/export", {"format": "csv"}, None),
    ("get", "/events/counts", "/events/counts", {"by": "user", "type": "nobody-knows", "seconds": "0.5"}, None),
    ("get", "/events/export", "/events/export", {"manifest": "1", "format": "csv"}, None),
    ("get", "/events/export", "/events/export", {"cursor": "nothing"}, None),
    ("get", "/events/counts", "/events/counts", {}, None),
    ("get", "/events/counts", "/events/counts", {"by": "type", "from": "3h", "bucket": "hour", "tz": "+02:00"}, None),
    ("get", "/events/counts", "/events/counts", {"by": "type", "bucket": "hour"}, None),
    ("get", "/events/values", "/events/values", {"field": "user", "prefix": "a"}, None),
    ("get", "/events/values", "/events/values", {}, None),
    ("get", "/events/values", "/events/values", {"field": "q"}, None),
    ("get", "/timeline", "/timeline", {"user": "anna"}, None),
    ("get", "/timeline", "/timeline", {"session": "session-1", "from": "2023-01-01"}, None),
    ("get", "/timeline", "/timeline", {"user": "anna", "ip": "203.0.113.7"}, None),
    ("get", "/people", "/people", {"limit": "1"}, None),
    ("get", "/people", "/people", {"sort": "name"}, None),
    ("get", "/people/active", "/people/active", {"bucket": "month"}, None),
    ("get", "/people/active", "/people/active", {"bucket": "week"}, None),
    ("get", "/people/{id}", "/people/keycloak:user-1", {}, None),
    ("get", "/people/{id}", "/people/nobody", {}, None),
    ("put", "/searches/{name}", "/searches/failed", {}, {"query": "outcome=failure"}),
    ("put", "/searches/{name}", "/searches/failed", {}, {"query": "outcom=failure"}),
    ("get", "/searches", "/searches", {}, None),
    ("get", "/searches/{name}", "/searches/failed", {}, None),
    ("delete", "/searches/{name}", "/searches/failed", {}, None),
    ("get", "/searches/{name}", "/searches/failed", {}, None),
    ("get", "/events/{uid}", "/events/1", {"raw": "1"}, None),
    ("get", "/events/{uid}", "/events/nothing", {}, None),
    ("get", "/events/{uid}/changes", "/events/1/changes", {}, None),
    ("get", "/events/{uid}/changes", "/events/nothing/changes", {}, None),
    ("get", "/events/{uid}/around", "/events/1/around", {"minutes": "60", "same": "user", "limit": "3"}, None),
    ("get", "/events/{uid}/around", "/events/1/around", {"same": "ip"}, None),
    ("get", "/events/{uid}/revisions", "/events/1/revisions", {}, None),
    ("get", "/events/{uid}/revisions", "/events/nothing/revisions", {}, None),
    ("get", "/events/{uid}/explain", "/events/1/explain", {}, None),
    ("get", "/events/{uid}/explain", "/events/nothing/explain", {}, None),
    ("get", "/quarantine", "/quarantine", {"raw": "1"}, None),
    ("get", "/quarantine/{uid}", "/quarantine/QUARANTINED", {"raw": "1"}, None),
    ("get", "/ignored", "/ignored", {"raw": "1"}, None),
    ("get", "/retention/preview", "/retention/preview", {}, None),
    ("get", "/renormalization", "/renormalization", {}, None),
    ("post", "/renormalization", "/renormalization", {}, {"provider": "acme", "received_from": "-2h", "dry_run": True}),
    ("post", "/renormalization", "/renormalization", {}, {"type": "quarantined", "dry_run": True}),
    ("get", "/renormalization", "/renormalization", {}, None),
    ("delete", "/renormalization", "/renormalization", {}, None),
    ("get", "/scrub", "/scrub", {}, None),
    ("post", "/scrub", "/scrub", {}, {"texts": ["hunter2-hunter2"], "redact": True}),
    ("get", "/scrub", "/scrub", {}, None),
    ("delete", "/scrub", "/scrub", {}, None),
    ("get", "/sinks/{name}/attempts", "/sinks/copy/attempts", {"outcome": "dead", "from": "-1h"}, None),
    ("get", "/sinks/{name}/attempts", "/sinks/copy/attempts", {"status": "400", "limit": "1"}, None),
    ("get", "/sinks/{name}/attempts", "/sinks/copy/attempts", {"cursor": "soon"}, None),
    ("get", "/sinks/{name}/attempts", "/sinks/nobody/attempts", {}, None),
    ("get", "/sinks/{name}/stats", "/sinks/copy/stats", {"from": "2h", "to": "now"}, None),
    ("get", "/sinks/{name}/stats", "/sinks/copy/stats", {"from": "90d"}, None),
    ("post", "/sinks/{name}/skip", "/sinks/copy/skip", {}, {"uid": "1", "reason": "nobody wants it"}),
    ("get", "/sinks/{name}/held", "/sinks/copy/held", {"limit": "1"}, None),
    ("get", "/sinks/{name}/held", "/sinks/copy/held", {"cursor": "first"}, None),
    ("get", "/sinks/{name}/dead", "/sinks/copy/dead", {}, None),
    ("get", "/sources", "/sources", {}, None),
    ("get", "/sources/{name}", "/sources/pulled", {}, None),
    ("get", "/sources/{name}", "/sources/nobody", {}, None),
    ("get", "/sinks/{name}/replay", "/sinks/copy/replay", {}, None),
    ("post", "/sinks/{name}/replay", "/sinks/copy/replay", {}, {"dry_run": True, "filter": {"received_from": "-1h"}}),
    ("post", "/sinks/{name}/replay", "/sinks/copy/replay", {}, {"dry_run": True, "filter": {"nothing": "x"}}),
    ("get", "/sinks/{name}/replay", "/sinks/copy/replay", {}, None),
    ("delete", "/sinks/{name}/replay", "/sinks/copy/replay", {}, None),
    ("post", "/sinks/{name}/resend", "/sinks/copy/resend", {}, {"uid": "nothing"}),
    ("get", "/events/{uid}/deliveries", "/events/1/deliveries", {"sink": "copy"}, None),
    ("get", "/events/{uid}/deliveries", "/events/nothing/deliveries", {}, None),
    ("get", "/sinks/{name}/audit", "/sinks/nobody/audit", {}, None),
    ("post", "/sinks/{name}/audit", "/sinks/copy/audit", {}, {"rate": 0}),
    ("get", "/sinks/{name}/audit", "/sinks/copy/audit", {}, None),
    ("delete", "/sinks/{name}/audit", "/sinks/copy/audit", {}, None),
    ("post", "/sinks/{name}/compare", "/sinks/copy/compare", {"from": "-1h"}, None),
    ("post", "/sinks/{name}/compare", "/sinks/copy/compare", {"other": "nobody"}, None),
    ("post", "/sinks/{name}/compare", "/sinks/copy/compare", {"from": "-1h", "examples": "2"},
     {"id": "1", "time": 1, "type": "LOGIN"}),
    ("get", "/mappings", "/mappings", {}, None),
    ("get", "/mappings/{provider}", "/mappings/acme", {}, None),
    ("get", "/mappings/{provider}", "/mappings/nobody", {}, None),
    ("get", "/mappings/{provider}/coverage", "/mappings/okta/coverage", {"arrived": "1"}, None),
    ("get", "/mappings/{provider}/types", "/mappings/okta/types", {}, None),
    ("get", "/mappings/{provider}/types", "/mappings/acme/types", {"arrived": "1"}, None),
    ("get", "/mappings/{provider}/words", "/mappings/acme/words", {}, None),
    ("get", "/mappings/{provider}/examples", "/mappings/acme/examples", {}, None),
    ("post", "/mappings/{provider}/check", "/mappings/acme/check", {}, None),
    ("post", "/mappings/{provider}/check", "/mappings/acme/check", {}, {"mapping": "types: [", "files": {}}),
    ("post", "/mappings/{provider}/apply", "/mappings/acme/apply", {}, [RAW]),
    ("post", "/mappings/{provider}/apply", "/mappings/acme/apply", {}, {"mapping": MAPPING, "raw": RAW}),
    ("post", "/mappings/{provider}/explain", "/mappings/acme/explain", {}, {"mapping": MAPPING, "raw": RAW}),
    ("post", "/mappings/{provider}/new", "/mappings/shop/new", {}, [RAW, {**RAW, "id": "3"}]),
    ("post", "/mappings/{provider}/examples", "/mappings/acme/examples", {}, {"uid": "QUARANTINED"}),
    ("post", "/mappings/{provider}/examples", "/mappings/acme/examples", {}, {"uid": "nothing"}),
    ("post", "/mappings/{provider}/accept", "/mappings/acme/accept", {}, None),
    ("post", "/mappings/{provider}/reload", "/mappings/acme/reload", {}, None),
    ("put", "/mappings/{provider}", "/mappings/acme", {}, {"mapping": MAPPING, "files": {}}),
    ("put", "/mappings/{provider}", "/mappings/acme", {"received_from": "-1h", "dry_run": "1"}, {"mapping": MAPPING}),
    ("put", "/mappings/{provider}", "/mappings/acme", {}, {"mapping": "types: ["}),
    ("put", "/mappings/{provider}", "/mappings/acme", {"dry_run": "1"}, LOGOUT),
    ("delete", "/mappings/{provider}", "/mappings/acme", {}, None),
    ("delete", "/mappings/{provider}", "/mappings/spare", {}, None),
    ("post", "/mappings/{provider}/diff", "/mappings/acme/diff", {"received_from": "-1h"}, {"mapping": MAPPING}),
    ("get", "/ingest/{source}", "/ingest/keycloak", {}, None),
    ("get", "/statement-key", "/statement-key", {}, None),
    ("get", "/.well-known/jwks.json", "/.well-known/jwks.json", {}, None),
    ("post", "/sinks", "/sinks", {"paused": "1"}, {"name": "soc", "kind": "webhook", "url": "http://soc.invalid/"}),
    ("post", "/sinks", "/sinks", {}, {"name": "soc", "kind": "file"}),
    ("get", "/sinks", "/sinks", {}, None),
    ("post", "/sinks/check", "/sinks/check", {}, {"kind": "webhook", "url": "http://soc.invalid/"}),
    ("put", "/sinks/{name}", "/sinks/soc", {}, {"kind": "webhook", "url": "http://soc.invalid/", "window": 2}),
    ("patch", "/sinks/{name}", "/sinks/soc", {}, {"window": 3}),
    ("get", "/sinks/{name}", "/sinks/soc", {}, None),
    ("get", "/sinks/{name}", "/sinks/nobody", {}, None),
    ("post", "/sinks/{name}/resume", "/sinks/soc/resume", {}, None),
    ("post", "/sinks/{name}/pause", "/sinks/soc/pause", {}, None),
    ("post", "/sinks/{name}/test", "/sinks/soc/test", {}, None),
    ("post", "/sinks/{name}/rotate", "/sinks/soc/rotate", {}, None),
    ("post", "/sinks/{name}/rotate", "/sinks/soc/rotate", {}, {"overlap": "1h"}),
    ("post", "/sinks/{name}/links", "/sinks/soc/links", {}, {"expires_in": "1h", "label": "SOC"}),
    ("get", "/sinks/{name}/links", "/sinks/soc/links", {}, None),
    ("get", "/sinks/{name}/links", "/sinks/nobody/links", {}, None),
    ("delete", "/sinks/{name}/links/{id}", "/sinks/soc/links/nothing", {}, None),
    ("delete", "/sinks/{name}", "/sinks/soc", {"force": "1"}, None),
    ("post", "/sources/{name}/reconciliation", "/sources/pulled/reconciliation", {}, {"from": "-2h"}),
    ("post", "/sources/{name}/reconciliation", "/sources/pulled/reconciliation", {}, {"from": 5, "to": "4"}),
    ("post", "/sources/{name}/reconciliation", "/sources/pulled/reconciliation", {}, {"from": "soon"}),
    ("post", "/sources/{name}/reconciliation", "/sources/acme/reconciliation", {}, {"from": "-2h"}),
    ("post", "/sources/{name}/reconciliation", "/sources/nobody/reconciliation", {}, {"from": "-2h"}),
    *(
        (method, top + route, top + path, query, body)
        for top in ("", "/auth")
        for method, route, path, query, body in OF_REALM
    ),
    ("post", "/keys", "/keys", {}, {"name": "soc", "permissions": ["read"], "realms": ["acme"], "expires": "90d"}),
    ("post", "/keys", "/keys", {}, {"name": "soc"}),
    ("post", "/keys", "/keys", {}, {"name": "other", "expires": "yesterday"}),
    ("get", "/keys", "/keys", {}, None),
    ("delete", "/keys/{name}", "/keys/soc", {}, None),
    ("delete", "/keys/{name}", "/keys/nobody", {}, None),
    ("post", "/console/links", "/console/links", {}, None),
    ("get", "/sessions", "/sessions", {}, None),
    ("delete", "/sessions/{id}", "/sessions/nobody", {}, None),
    # Last, when the sink is past it.
    ("post", "/sinks/{name}/resend", "/sinks/copy/resend", {}, {"uid": "1"}),
]  # fmt: skip


async def quarantined(service: Opened) -> str:
    _, found = await service.get("/quarantine")
    return str(found["groups"][0]["samples"][0]["uid"])


async def test_what_is_taken_and_answered_is_as_it_is_described(service: Opened) -> None:
    document = await described(service)
    uid = await quarantined(service)
    wrong, answered, webhook = [], set(), ""
    for method, route, path, query, body in ASKED:
        page = document["paths"][route][method]
        if body is not None:
            sent = page["requestBody"]["content"]
            wrong += [
                f"{method} {path}: sent: {one}"
                for one in problems(document, sent, "application/json", json.dumps(body))
            ]
        elif "requestBody" in page:
            assert not page["requestBody"]["required"], path
        headers = {"If-Match": "*"} if method in ("put", "delete") else {}
        asked = path.replace("QUARANTINED", uid).replace("WEBHOOK", webhook)
        body = json.loads(json.dumps(body).replace("QUARANTINED", uid))
        async with service.session.request(method, asked, params=query, json=body, headers=headers) as response:
            text, media = await response.text(), response.content_type
        if str(response.status) not in page["responses"]:
            wrong.append(f"{method} {path}: {response.status} is not described")
            continue
        described_as = page["responses"][str(response.status)]
        names = {one.lower() for one in (*ALWAYS, *described_as.get("headers", ()))}
        missing = {one.lower() for one in response.headers} - names
        wrong += [f"{method} {path}: {response.status}: the header {one} is not described" for one in missing]
        wrong += [
            f"{method} {path}: {response.status}: {one}"
            for one in problems(document, described_as["content"], media, text)
        ]
        if response.status < 300:
            answered.add((method, route))
        if response.status == 201 and route.endswith(HOOKS):
            webhook = response.headers["Location"].rpartition("/")[2]
    assert wrong == []
    every = {(method, route) for route, page in document["paths"].items() for method in page}
    refused = {(method, route) for method, route in every if method == "delete" and "/admin/realms/" in route}
    # A form is sent there, by `test_keycloak`.
    tokens = {(method, route) for method, route in every if route.endswith("/openid-connect/token")}
    # Nothing was sent to a webhook here: `tests/phasetwo` asks for that.
    sent = {(method, route) for method, route in every if "{sid}" in route or "/webhooks/payload/" in route}
    # Such an answer has no end: `test_live`.
    sent.add(("get", "/events/live"))
    # Who has a link is answered there, and a link is revoked, by `tests/console`.
    links = {(method, route) for method, route in every if route.startswith("/links/")}
    links.add(("delete", "/sinks/{name}/links/{id}"))
    # Its sink has nothing that is held; `tests/sink_management` skips something.
    links.add(("post", "/sinks/{name}/skip"))
    # Nobody has signed in: `tests/console` does.
    sessions = {("delete", "/sessions/{id}")}
    assert every - answered == {("get", "/ingest/{source}")} | refused | tokens | sent | links | sessions


async def test_every_answer_of_json_has_a_schema(service: Opened) -> None:
    document = await described(service)
    for route, page in document["paths"].items():
        for method, operation in page.items():
            for status, answer in operation["responses"].items():
                content = answer["content"].get("application/json", {"schema": None})
                with_schema = "schema" in content
                assert with_schema or (method, route) in WITHOUT_MODEL or (route, status) == ("/ingest/{source}", "200")
            sent = operation.get("requestBody", {"content": {}})["content"]
            taken = "application/json" not in sent or "schema" in sent["application/json"]
            # What others send is of no form of ours.
            assert taken or route in ("/ingest/{source}", "/mappings/{provider}/new", "/sinks/{name}/compare")


async def test_every_operation_says_what_may_be_wrong_and_who_may(service: Opened) -> None:
    document = await described(service)
    tags = {one["name"] for one in document["tags"]}
    names = [page["operationId"] for methods in document["paths"].values() for page in methods.values()]
    assert len(set(names)) == len(names)
    for route, methods in document["paths"].items():
        for method, page in methods.items():
            said = set(page["responses"])
            assert {"400", "429", "431", "500", "503"} <= said, route
            assert ("404" in said) or "{" not in route
            assert ({"401", "403"} <= said) or not page["security"], route
            assert ({"408", "413"} <= said) == ("requestBody" in page), (method, route)
            assert set(page["tags"]) <= tags
            assert page["summary"]


async def test_every_parameter_header_and_field_says_what_it_means_and_shows_a_value(service: Opened) -> None:
    document = await described(service)
    wrong = []
    for route, methods in document["paths"].items():
        for method, page in methods.items():
            for one in page["parameters"]:
                schema = one["schema"].get("items", one["schema"])
                given = one.get("example", schema.get("examples", schema.get("enum", schema.get("default"))))
                values = given if isinstance(given, list) else [given]
                place = f"{method} {route}: {one['name']}"
                wrong += [f"{place}: no description"] * (not one["description"])
                wrong += [f"{place}: {value!r}" for value in values if not Draft202012Validator(schema).is_valid(value)]
            for answer in page["responses"].values():
                for name, header in answer.get("headers", {}).items():
                    assert header["description"], name
                    Draft202012Validator(header["schema"]).validate(header["example"])
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        whole = Draft202012Validator({**schema, "components": {"schemas": schemas}})
        if "enum" not in schema:
            assert schema["description"], name
        assert schema["examples"], name
        wrong += [f"{name}: {fault.message}" for one in schema["examples"] for fault in whole.iter_errors(one)]
        wrong += [
            f"{name}.{field}: no description"
            for field, about in schema.get("properties", {}).items()
            if not about["description"]
        ]
    assert wrong == []


async def test_every_header_of_ours_in_an_answer_is_described(service: Opened) -> None:
    document = await described(service)
    for path, query in (
        ("/events", {"format": "csv", "limit": "1", "type": "nobody-knows"}),
        ("/events", {"format": "csv", "limit": "1"}),
        ("/events/export", {"format": "csv", "type": "nobody-knows"}),
    ):
        async with service.session.get(path, params=query) as response:
            ours = {name for name in response.headers if name.startswith("X-")} - {"X-Content-Type-Options"}
        assert ours <= set(document["paths"][path]["get"]["responses"]["200"]["headers"])


async def test_every_schema_is_one(service: Opened) -> None:
    document = await described(service)
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


#: Methods that are asked of every path, whether or not it knows them.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


@pytest.mark.parametrize("accept", ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "application/json"])
async def test_whatever_is_refused_is_told_as_a_problem_document(service: Opened, accept: str) -> None:
    document = await described(service)
    paths = [re.sub(r"{\w+}", "nobody", path) for path in document["paths"]]
    # Those are pages for who has a link.
    paths = [path for path in paths if not path.startswith("/links/") or accept == "application/json"]
    wrong = []
    async with ClientSession(headers={"Accept": accept}) as session:
        for path in [*paths, "/nothing", "/events/", "//events", "/%00", "/events/%ff/deliveries", "/api/events"]:
            knows: dict[str, bool] = {}
            for method in METHODS:
                async with session.request(method, service.service.url + path, allow_redirects=False) as response:
                    media, body = response.content_type, await response.read()
                knows[method] = response.status != 405
                if response.status >= 400:
                    # Of OAuth2 (RFC 6749, 5.2), where a token is asked for.
                    is_right = path.endswith("/token") and "error" in json.loads(body or b"{}")
                    is_right |= media == "application/problem+json" and (
                        method == "HEAD" or {"type", "title", "status", "detail"} <= json.loads(body).keys()
                    )
                else:
                    is_right = media != "text/html"
                if (
                    response.status >= 500
                    or not is_right
                    or response.headers.get("X-Content-Type-Options") != "nosniff"
                ):
                    wrong.append((method, path, response.status, media, body[:80]))
                if response.status == 405 and not response.headers.get("Allow"):
                    wrong.append((method, path, 405, "no Allow", b""))
            if knows["HEAD"] != knows["GET"]:
                wrong.append(("HEAD", path, 0, "", b""))
    assert wrong == []
