"""What Keycloak gave, read by its table and written again, is what Keycloak gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapter.formats.keycloak import KEYCLOAK_NAMES, keycloak_name, write_representation
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.table import load_table
from adapter.resources import mappings_path
from tests.formats.conformance import make_event

CAPTURES = Path(__file__).parents[1] / "captures" / "keycloak-26.6.4"


@pytest.mark.parametrize("name", ["events", "admin-events"])
def test_what_a_real_keycloak_gave_comes_out_as_it_was(name: str, catalogue: Catalogue) -> None:
    table = load_table(mappings_path() / "keycloak" / "mapping.yaml", catalogue)
    raw: list[dict[str, Any]] = json.loads((CAPTURES / f"{name}.json").read_text())
    for one in raw:
        event, *_ = table.read(json.loads(json.dumps(one)), 0)
        assert event is not None
        event["uid"] = "0b5f3a52-2a0e-5c0a-9a57-0f0f6a1c9e11"
        written = orjson.loads(write_representation(orjson.dumps(event)))
        # Keycloak's details of an admin event are ours, too; those that a table adds are more.
        more = {key: value for key, value in written.get("details", {}).items() if key not in one.get("details", {})}
        for key in more:
            del written["details"][key]
        if not written.get("details"):
            written.pop("details", None)
        if "sessionId" not in one and "sessionId" in written:
            assert written.pop("sessionId") == one["details"]["code_id"]  # the session of the login, which is to come
        assert written == one
        assert more.keys() <= {"userId", "username", "factor", "role", "action", "group"}, more
    assert raw


def test_what_a_real_keycloaks_listener_posted_comes_out_byte_for_byte(catalogue: Catalogue) -> None:
    table = load_table(mappings_path() / "keycloak" / "mapping.yaml", catalogue)
    bodies = [json.loads(line)["body"] for line in (CAPTURES / "push-http.ndjson").read_text().splitlines()]
    for body in bodies:
        sent = json.loads(body)
        event, *_ = table.read(json.loads(body), 0)
        assert event is not None
        # What the table knows besides: it stands in no event that Keycloak itself sends.
        known = event.get("details", {})
        event["details"] = {name: known[name] for name in known if name in sent.get("details", {})}
        event["details"] |= {name: known[name] for name in known if name == "auth_realm_id"}
        who = event.get("authDetails", {})
        event["authDetails"] = {name: who[name] for name in who if name != "username"}
        if "sessionId" not in sent:
            event["authDetails"].pop("sessionId", None)
        event["uid"] = "0b5f3a52-2a0e-5c0a-9a57-0f0f6a1c9e11"
        assert write_representation(orjson.dumps(event)).decode() == body
    assert bodies


def test_types_have_keycloaks_names(catalogue: Catalogue) -> None:
    for ours, theirs in KEYCLOAK_NAMES.items():
        assert catalogue.canonical(f"access.{theirs}") == f"access.{ours}"
        assert keycloak_name(f"access.{ours}_ERROR") == f"{theirs}_ERROR"
    assert keycloak_name("access.LOGIN") == "LOGIN"


def test_an_event_of_another_provider_has_its_uid_where_it_has_no_id() -> None:
    event = make_event(type="access.MAGIC_LINK_LOGIN")
    del event["id"]
    written = orjson.loads(write_representation(orjson.dumps(event)))
    assert written["id"] == event["uid"]
    assert written["type"] == "MAGIC_LINK_LOGIN"


def test_an_admin_event_without_its_resource_says_what_its_type_says() -> None:
    event = make_event(type="admin.USER_FEDERATION-UPDATE")
    del event["resourceType"], event["operationType"]
    written = orjson.loads(write_representation(orjson.dumps(event)))
    assert (written["resourceType"], written["operationType"]) == ("USER_FEDERATION", "UPDATE")
