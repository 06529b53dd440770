"""What has arrived beside a table's rows, and what a changed table would do to stored raw events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapter.renormalization import step
from adapter.renormalization.comparing import Comparer
from tests.mapping.acme import MAPPING, TYPES, write_example, write_table
from tests.opened import Opened, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE = MAPPING + "  out: {type: LOGOUT}\n  seen: {ignore: true}\n"
KEYS = [{"name": "author", "token": "author-token", "permissions": ["mappings"]}]


def raw(number: int, kind: str = "in") -> dict[str, Any]:
    return {"id": str(number), "kind": kind, "user": f"user {number}"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "types.yaml").write_text(TYPES)
    write_table(folder, TABLE)
    write_example(folder)
    async with opened(
        tmp_path_factory.mktemp("data"),
        mappings={"path": [folder], "look_every": 0},
        sources=[
            {"name": "one", "provider": "acme", "token": "one-token"},
            {"name": "two", "provider": "acme", "token": "two-token"},
            {"name": "keycloak", "provider": "keycloak"},
        ],
        keys=KEYS,
    ) as service:
        await service.post([raw(1), raw(2), raw(3, "out"), raw(4, "new"), raw(5, "seen")], "one")
        await service.post([raw(6), raw(7, "new")], "two")
        await service.post([{"type": "LOGIN", "realmId": "r", "time": 1_700_000_000_000, "id": "k"}])
        yield service


async def diff(service: Opened, text: str, *, token: str | None = None, **query: Any) -> tuple[int, list[Any]]:
    """Status and lines of an answer."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    sent = {"mapping": text}
    async with service.session.post("/mappings/acme/diff", params=query, json=sent, headers=headers) as response:
        return response.status, [json.loads(line) for line in (await response.text()).splitlines()]


async def stored(service: Opened, text: str, **query: Any) -> dict[str, Any]:
    status, lines = await diff(service, text, **{"received_from": "0", **query})
    assert status == 200, lines
    found: dict[str, Any] = lines[-1]["result"]["stored"]
    return found


def counts(found: dict[str, Any]) -> dict[str, int]:
    """Those that are not 0."""
    counted = {**found["counts"], "other_keys": found["other_keys"]}
    return {name: count for name, count in counted.items() if count}


async def test_what_arrived_is_counted_for_the_sources_of_the_provider(service: Opened) -> None:
    _, found = await service.get("/mappings/acme/coverage", arrived="1")
    assert [{**one, "lastAt": one["lastAt"] > 0} for one in found["arrived"]] == [
        {"nativeType": "in", "entries": 3, "quarantined": 0, "lastAt": True, "row": True},
        {"nativeType": "new", "entries": 2, "quarantined": 2, "lastAt": True, "row": False},
        {"nativeType": "out", "entries": 1, "quarantined": 0, "lastAt": True, "row": True},
    ]
    _, without = await service.get("/mappings/acme/coverage")
    assert without["arrived"] is None


async def test_values_that_the_table_has_no_word_for_are_counted(tmp_path: Path) -> None:
    (tmp_path / "types.yaml").write_text(TYPES)
    write_table(tmp_path, TABLE.replace("fields: {", "fields: {details.by: {path: by, table: {a: b}, default: c}, "))
    sources = [{"name": name, "provider": "acme", "token": f"{name}-token"} for name in ("one", "two")]
    async with opened(tmp_path / "data", mappings={"path": [tmp_path], "look_every": 0}, sources=sources) as service:
        await service.post([{**raw(1), "by": "x"}, {**raw(2), "by": "a"}, {**raw(3), "by": "y\n"}], "one")
        await service.post([{**raw(4), "by": "x"}], "two")
        _, found = await service.get("/mappings/acme/coverage", arrived="1")
        assert found["untranslated"] == [
            {"path": "by", "value": "x", "count": 2},
            {"path": "by", "value": "y\n", "count": 1},
        ]
        async with service.session.get("/metrics") as response:
            told = await response.text()
        assert 'idp_adapter_values_untranslated_total{path="by",source="two",value="x"} 1.0' in told


async def test_a_table_without_a_change_changes_nothing(service: Opened) -> None:
    assert counts(await stored(service, TABLE)) == {"looked_at": 6, "unchanged": 4, "quarantined": 2}


async def test_stored_events_are_read_with_types_that_are_not_saved_yet(service: Opened) -> None:
    types = TYPES + "  PEEK: {group: login, kind: read, meaning: A look, sentence: A look}\n"
    body = {"mapping": TABLE.replace("out: {type: LOGOUT}", "out: {type: PEEK}"), "files": {"types.yaml": types}}
    async with service.session.post("/mappings/acme/diff", params={"received_from": "1d"}, json=body) as response:
        *_, last = (await response.text()).splitlines()
    assert counts(json.loads(last)["result"]["stored"])["corrected"] == 1


async def test_each_kind_of_change_is_counted_and_shown(service: Opened) -> None:
    text = TABLE.replace("in: {type: LOGIN}", "in: {type: LOGIN, details: {by: door}}")
    text = text.replace("out: {type: LOGOUT}", "new: {type: LOGOUT}")
    found = await stored(service, text)
    assert counts(found) == {"looked_at": 6, "corrected": 3, "recovered": 2, "kept": 1}
    assert found["fields"] == {"details.by": 3, "type": 3}
    assert {(one["native_type"], one["verdict"], *one["lines"]) for one in found["samples"]} == {
        ("in", "corrected", "details.by: absent becomes 'door'"),
        ("new", "recovered", "type: quarantined (no row for 'new': add one to the table) becomes access.LOGOUT"),
        ("out", "kept", "type: access.LOGOUT becomes quarantined (no row for 'out': add one to the table)"),
    }


async def test_changes_of_very_many_places_are_counted_together(
    service: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "PLACES", 1)
    text = TABLE.replace("in: {type: LOGIN}", "in: {type: LOGIN, details: {a: b, c: d, e: f}}")
    assert (await stored(service, text))["fields"] == {"details.a": 3, "(others)": 6}


async def test_other_keys_are_counted_and_named(service: Opened) -> None:
    text = TABLE.replace("strong: id", "strong: user")
    status, lines = await diff(service, text, received_from="0")
    result = lines[-1]["result"]
    assert (status, result["identity"]) == (200, "'first'")
    assert result["examples"][0]["lines"] == ["known by: 1 becomes anna"]
    assert counts(result["stored"]) == {"looked_at": 6, "unchanged": 4, "quarantined": 2, "other_keys": 6}
    assert result["stored"]["samples"][0]["lines"] == ["known by: 1 becomes user 1"]


async def test_only_what_arrived_in_time_is_looked_at(service: Opened) -> None:
    assert counts(await stored(service, TABLE, received_from="4000000000000")) == {}
    assert counts(await stored(service, TABLE, received_to="1000")) == {}
    assert counts(await stored(service, TABLE, received_to="-1h")) == {}
    assert counts(await stored(service, TABLE, received_from="1h"))["looked_at"] == 6


async def test_without_a_moment_the_examples_alone_are_read(service: Opened) -> None:
    text = TABLE.replace("in: {type: LOGIN}", "in: {type: LOGOUT}")
    status, lines = await diff(service, text, token="author-token")
    assert (status, len(lines)) == (200, 1)
    assert lines[0]["result"] == {
        "examples": [{"example": "first", "lines": ["type: 'access.LOGIN' becomes 'access.LOGOUT'"], "keys": False}],
        "identity": None,
        "stored": None,
    }


async def test_stored_events_are_shown_to_those_who_may_read_them(service: Opened) -> None:
    status, [problem] = await diff(service, TABLE, token="author-token", received_from="0")
    assert (status, problem["detail"]) == (403, "This token lacks the permission 'read'.")


@pytest.mark.parametrize(
    ("text", "query", "status"),
    [("types: [", {}, 422), (TABLE, {"received_from": "soon"}, 400), (TABLE, {"since": "0"}, 400)],
)
async def test_what_cannot_be_compared_is_refused(
    service: Opened, text: str, query: dict[str, str], status: int
) -> None:
    assert (await diff(service, text, **query))[0] == status


async def test_it_says_how_far_it_is(service: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.api.comparison.TELLING", 0.001)
    monkeypatch.setattr(Comparer, "stretch", 3)
    _, lines = await diff(service, TABLE, received_from="0")
    *before, last = [line["progress"] for line in lines[:-1]]
    assert last == {"done": 7, "all": 7}
    assert {one["all"] for one in before} <= {7}
    done = [one["done"] for one in before]
    assert done == sorted(done)
    assert {*done} <= {0, 3, 6, 7}
    assert lines[-1]["result"]["stored"]["counts"]["looked_at"] == 6


MANY = """
provider: acme
title: Acme
type: list.kind
each: list
identity: {strong: {template: "{id}/{list.id}"}}
types: {in: {type: LOGIN}}
"""


async def test_an_event_of_a_record_of_several_is_held_against_itself(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "types.yaml").write_text(TYPES)
    write_table(tmp_path / "own", MANY)
    sources = [{"name": "acme", "provider": "acme"}]
    async with opened(tmp_path / "data", mappings={"path": [tmp_path / "own"]}, sources=sources) as service:
        batch = {"id": "b", "list": [{"id": number, "kind": "in"} for number in range(3)]}
        uids = (await service.post(batch, "acme"))["uids"]
        other = MANY.replace("in: {type: LOGIN}", "in: [{when: {list.id: 1}, type: LOGOUT}, {type: LOGIN}]")
        found = await stored(service, other)
        assert counts(found) == {"looked_at": 3, "unchanged": 2, "corrected": 1}
        assert [one["uid"] for one in found["samples"]] == [uids[1]]
        whole = MANY.replace("each: list\n", "").replace("{list.id}", "x")
        assert counts(await stored(service, whole)) == {"looked_at": 3, "kept": 3, "other_keys": 3}


async def test_a_stored_body_that_holds_no_event_is_looked_at_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "types.yaml").write_text(TYPES)
    write_table(tmp_path / "own", TABLE)
    sources = [{"name": "acme", "provider": "acme"}]
    async with opened(tmp_path / "data", mappings={"path": [tmp_path / "own"]}, sources=sources) as service:
        assert (await service.post([[], raw(1)], "acme"))["quarantined"] == 1
        assert counts(await stored(service, TABLE)) == {"looked_at": 2, "unchanged": 1, "quarantined": 1}
