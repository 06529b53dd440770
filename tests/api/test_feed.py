import csv
import io
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.opened import KEYCLOAK, Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "=cmd|' /C calc'!A0\u202e\r\n<script>\x1b[2J"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    keys = [
        {"name": "reader", "token": "reader-token"},
        {"name": "auditor", "token": "auditor-token", "permissions": ["read", "raw"]},
        {"name": "sender", "token": "sender-token", "permissions": ["ingest"]},
    ]
    folder: Path = tmp_path_factory.mktemp("data")
    async with opened(folder, keys=keys) as service:
        await service.post([login(number) for number in range(30)])
        await service.post([login(2_000, realmId="hostile", details={"username": HOSTILE})])
        await service.post([login(number, realmId="many") for number in range(10_000, 12_300)])
        yield service


async def test_events_come_newest_first_in_pages_that_end(service: Opened) -> None:
    times: list[int] = []
    query: dict[str, Any] = {"realm": "realm-1", "limit": 7}
    while True:
        status, page = await service.get("/events", **query)
        assert status == 200
        times += [event["time"] for event in page["events"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert times == [1_700_000_000_000 + number * 1000 for number in range(29, -1, -1)]


async def test_by_log_there_is_always_a_next_cursor_and_an_empty_page_repeats_it(service: Opened) -> None:
    _, page = await service.get("/events", order="log", realm="realm-1", limit=20)
    _, second = await service.get("/events", order="log", realm="realm-1", limit=20, cursor=page["next"])
    _, third = await service.get("/events", order="log", realm="realm-1", limit=20, cursor=second["next"])
    times = [event["time"] for event in page["events"] + second["events"]]
    assert times == [1_700_000_000_000 + number * 1000 for number in range(30)]
    assert third["events"] == []
    _, fourth = await service.get("/events", order="log", realm="realm-1", limit=20, cursor=third["next"])
    assert fourth == third


async def test_what_was_answered_is_found_at_once(service: Opened) -> None:
    for number in range(500, 520):
        receipts = await service.post(login(number, realmId=f"at-once-{number}"))
        _, page = await service.get("/events", realm=f"at-once-{number}")
        assert [event["uid"] for event in page["events"]] == receipts["uids"]


async def test_an_event_leaves_as_the_unified_event(service: Opened) -> None:
    receipts = await service.post(login(600, realmId="one"))
    _, page = await service.get("/events", realm="one")
    [event] = page["events"]
    assert event["uid"] == receipts["uids"][0]
    assert (event["type"], event["outcome"], event["realmId"]) == ("access.LOGIN", "success", "one")
    assert event["authDetails"]["ipAddress"] == "203.0.113.7"
    assert event["source"]["name"] == "keycloak"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"typ": "x"}, "typ"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "١"}, "limit"),
        ({"order": "size"}, "order"),
        ({"revisions": "1"}, "revisions"),
        ({"revisions": "yes", "order": "log"}, "revisions"),
        ({"outcome": "maybe"}, "outcome"),
        ({"ip": "nowhere"}, "ip"),
        ({"from": "tomorrow"}, "from"),
        ({"cursor": "made-up"}, "cursor"),
        ({"cursor": "made-up", "order": "log"}, "cursor"),
    ],
)
async def test_a_wrong_parameter_is_refused_by_name(service: Opened, query: dict[str, str], parameter: str) -> None:
    status, problem = await service.get("/events", **query)
    assert status == 400
    assert problem["parameter"] == parameter


async def test_what_nobody_knows_finds_nothing_and_a_hint_says_so(service: Opened) -> None:
    query = {"type": "access.LOGN", "source": "nosuch"}
    _, page = await service.get("/events", **query)
    assert page["events"] == []
    [of_source, of_type] = page["hints"]
    assert of_source.startswith("source=nosuch: no source of this name is configured; there are ")
    assert of_type.startswith("type=access.LOGN: the catalogue has no such type; did you mean access.LOGIN")
    async with service.session.get("/events/export", params={"type": "access.LÖGIN"}) as response:
        [hint] = json.loads(response.headers["X-Hints"])
        assert hint.startswith("type=access.LÖGIN: ")
    _, groups = await service.get("/quarantine", provider="kaycloak")
    assert groups["hints"] == ["provider=kaycloak: there is no table for this provider; did you mean keycloak?"]


async def test_without_a_slip_there_are_no_hints(service: Opened) -> None:
    _, page = await service.get("/events", type="LOGIN", source="keycloak", limit=1)
    assert (len(page["events"]), "hints" in page) == (1, False)
    assert "hints" not in (await service.get("/quarantine", source="keycloak"))[1]
    async with service.session.get("/events/export", params={"realm": "nowhere"}) as response:
        assert "X-Hints" not in response.headers


async def test_an_unknown_parameter_is_answered_with_the_known_ones(service: Opened) -> None:
    _, problem = await service.get("/events", colour="red")
    assert {"type", "not_type", "outcome", "from", "received_to", "limit", "cursor", "order"} <= set(problem["allowed"])


async def test_one_event_is_shown_by_its_uid(service: Opened) -> None:
    receipts = await service.post(login(700, realmId="shown"))
    status, event = await service.get(f"/events/{receipts['uids'][0]}")
    assert status == 200
    assert event["uid"] == receipts["uids"][0]
    assert "raw" not in event


async def test_one_event_is_shown_by_the_id_that_its_provider_gave_it(service: Opened) -> None:
    native = login(710, realmId="by-id")
    receipts = await service.post(native)
    status, event = await service.get(f"/events/{native['id']}")
    assert (status, event["uid"], event["id"]) == (200, receipts["uids"][0], native["id"])
    odd = login(711, id="a/b c?{d}\ne")
    receipts = await service.post(odd)
    status, event = await service.get("/events/a%2Fb%20c%3F%7Bd%7D%0Ae")
    assert (status, event["uid"]) == (200, receipts["uids"][0])
    assert (await service.get("/no%7Bthing%7D%0A"))[1]["title"] == "Not found"


async def test_an_id_that_several_sources_have_is_answered_with_their_uids(service: Opened) -> None:
    native = {"uuid": "same-id", "eventType": "user.session.start", "published": "2026-01-01T00:00:00Z"}
    uids = (await service.post({**login(712), "id": "same-id"}))["uids"]
    uids += (await service.post({**native, "outcome": {"result": "SUCCESS"}}, "okta"))["uids"]
    status, problem = await service.get("/events/same-id")
    assert (status, sorted(problem["allowed"])) == (409, sorted(uids))


async def test_the_raw_event_is_shown_as_json_to_those_who_may_see_it(service: Opened) -> None:
    native = login(701, realmId="raw")
    receipts = await service.post(native)
    path = f"/events/{receipts['uids'][0]}"
    status, event = await service.get(path, token="auditor-token", raw="1")
    assert status == 200
    assert event["raw"] == native
    assert event["type"] == "access.LOGIN"
    assert (await service.get(path, token="reader-token", raw="1"))[0] == 403
    assert (await service.get(path, token="reader-token", raw="0"))[0] == 200


@pytest.mark.parametrize("uid", ["nonsense", str(uuid.UUID(int=7))])
async def test_an_unknown_uid_is_not_found(service: Opened, uid: str) -> None:
    assert (await service.get(f"/events/{uid}"))[0] == 404


async def test_a_quarantined_record_is_not_found_and_its_problem_is_said(service: Opened) -> None:
    receipts = await service.post([42])
    assert receipts["quarantined"] == 1
    status, problem = await service.get(f"/events/{receipts['uids'][0]}")
    assert status == 404
    assert problem["quarantined"]["problem"]


async def test_a_reader_reads_and_does_not_post(service: Opened) -> None:
    assert (await service.get("/events", token="reader-token", limit=1))[0] == 200
    headers = {"Authorization": "Bearer reader-token"}
    async with service.session.post("/ingest/keycloak", json=KEYCLOAK, headers=headers) as response:
        assert response.status == 401


async def test_a_sender_posts_and_does_not_read(service: Opened) -> None:
    assert (await service.get("/events", token="sender-token"))[0] == 403
    headers = {"Authorization": "Bearer sender-token"}
    async with service.session.post("/ingest/keycloak", json=KEYCLOAK, headers=headers) as response:
        assert response.status == 202


async def test_an_export_holds_every_event_once(service: Opened) -> None:
    async with service.session.get("/events/export", params={"realm": "many"}) as response:
        assert response.status == 200
        assert response.content_type == "application/x-ndjson"
        assert response.headers["Content-Disposition"] == 'attachment; filename="events.ndjson"'
        events = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [event["time"] for event in events] == [
        1_700_000_000_000 + number * 1000 for number in range(12_299, 9_999, -1)
    ]


async def test_the_media_type_that_is_accepted_chooses_the_format(service: Opened) -> None:
    for accept, media in (
        ("text/csv", "text/csv"),
        ("text/html, text/csv;q=0.9, */*;q=0.1", "text/csv"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/html", "application/x-ndjson"),
        ("*/*", "application/x-ndjson"),
    ):
        given = {"Accept": accept}
        async with service.session.get("/events/export", params={"realm": "nowhere"}, headers=given) as response:
            assert response.content_type == media, accept


async def test_a_page_in_a_format_has_its_next_in_a_header(service: Opened) -> None:
    params = {"realm": "many", "limit": "2", "format": "csv"}
    times: list[str] = []
    for _ in range(3):
        async with service.session.get("/events", params=params) as response:
            assert response.content_type == "text/csv"
            times += [row["time"] for row in csv.DictReader(io.StringIO(await response.text()))]
            params["cursor"] = response.headers["X-Next"]
    assert times == [str(1_700_000_000_000 + number * 1000) for number in range(12_299, 12_293, -1)]


async def test_the_last_page_in_a_format_has_no_next(service: Opened) -> None:
    given = {"Accept": "application/x-ndjson"}
    params = {"realm": "nowhere", "type": "access.NOBODY-KNOWS"}
    async with service.session.get("/events", params=params, headers=given) as response:
        assert response.content_type == "application/x-ndjson"
        assert await response.text() == ""
        assert "X-Next" not in response.headers
        assert "NOBODY-KNOWS" in json.loads(response.headers["X-Hints"])[0]


async def test_a_page_is_json_unless_something_else_is_asked_for(service: Opened) -> None:
    for accept in ("*/*", "application/json", "text/html", "application/json, text/csv"):
        async with service.session.get("/events", params={"limit": "1"}, headers={"Accept": accept}) as response:
            assert response.content_type == "application/json"
            assert len((await response.json())["events"]) == 1
    assert (await service.get("/events", format="xml"))[0] == 400


async def test_an_export_by_log_ends(service: Opened) -> None:
    async with service.session.get("/events/export", params={"realm": "many", "order": "log"}) as response:
        events = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [event["time"] for event in events] == [
        1_700_000_000_000 + number * 1000 for number in range(10_000, 12_300)
    ]


async def test_a_table_is_exported_with_nothing_in_it_that_runs(service: Opened) -> None:
    async with service.session.get("/events/export", params={"realm": "hostile", "format": "csv"}) as response:
        assert response.content_type == "text/csv"
        text = await response.text()
    assert text.count("\n") == 2
    assert not {"\u202e", "\x1b"} & set(text)
    [row] = csv.DictReader(io.StringIO(text))
    assert row["realmId"] == "hostile"
    assert HOSTILE[:4] in row["details"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())


async def test_an_empty_export_has_its_heading_alone(service: Opened) -> None:
    async with service.session.get("/events/export", params={"realm": "nowhere", "format": "csv"}) as response:
        assert (await response.text()).startswith('"uid","time"')
    async with service.session.get("/events/export", params={"realm": "nowhere"}) as response:
        assert await response.text() == ""


async def test_a_wrong_question_for_an_export_is_refused_before_it_begins(service: Opened) -> None:
    assert (await service.get("/events/export", format="xml"))[0] == 400
    assert (await service.get("/events/export", outcome="maybe"))[0] == 400
    assert (await service.get("/events/export", limit="10"))[1]["parameter"] == "limit"
