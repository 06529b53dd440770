"""What Phase Two's extension posted, read by its table and written again, is what it posted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapter.formats.settings import make_format, read_format_settings
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.table import load_table
from adapter.resources import mappings_path
from tests.formats.conformance import make_entry, make_event

CAPTURES = Path(__file__).parents[1] / "captures" / "keycloak-26.6.4"
UID = "0b5f3a52-2a0e-5c0a-9a57-0f0f6a1c9e11"
#: Details that the table adds.
MORE = {"userId", "username", "factor", "role", "action", "group"}


def write(event: dict[str, Any], revision: int = 0) -> dict[str, Any]:
    (record,) = make_format(read_format_settings("phasetwo")).write([make_entry(event)._replace(revision=revision)])
    written: dict[str, Any] = orjson.loads(record)
    return written


def test_what_a_real_extension_posted_comes_out_with_its_names_in_its_order(catalogue: Catalogue) -> None:
    table = load_table(mappings_path() / "keycloak" / "mapping.yaml", catalogue)
    bodies = [json.loads(line)["body"] for line in (CAPTURES / "push-webhook.ndjson").read_text().splitlines()]
    for body in bodies:
        sent = json.loads(body)
        event, *_ = table.read(json.loads(body), 0)
        assert event is not None
        event |= {"uid": UID, "source": make_event()["source"]}
        written = write(event)
        assert list(written) == list(sent)
        assert written["uid"] == UID
        for name in ("authDetails", "details"):
            order = [member for member in written[name] if member in sent[name]]
            assert order == list(sent[name])
            more = written[name].keys() - sent[name].keys()
            assert more <= (MORE if name == "details" else {"username", "sessionId"}), more
            written[name] = {member: written[name][member] for member in order}
        assert {**written, "uid": None} == {**sent, "uid": None}
    assert bodies


def test_nothing_of_ours_alone_is_in_it() -> None:
    written = write(make_event(type="admin.USER-CREATE"))
    assert not {"outcome", "reason", "source", "lookedUp"} & written.keys()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("access.SOCIAL_LINK", "access.FEDERATED_IDENTITY_LINK"),
        ("access.REMOVE_SOCIAL_LINK_ERROR", "access.REMOVE_FEDERATED_IDENTITY_ERROR"),
        ("access.LOGIN", "access.LOGIN"),
        ("admin.USER-CREATE", "admin.USER-CREATE"),
        ("system.SINK-STOPPED", "system.SINK-STOPPED"),
        ("foo.bar", "foo.bar"),
    ],
)
def test_types_have_their_names_on_the_wire(ours: str, theirs: str) -> None:
    assert write(make_event(type=ours))["type"] == theirs


def test_details_are_always_there_and_events_of_the_system_name_nobody() -> None:
    event = make_event(type="system.SINK-STOPPED")
    del event["details"]
    written = write(event)
    assert written["details"] == {}
    assert "authDetails" not in written


def test_a_correction_has_a_uid_of_its_own_so_that_it_is_taken_for_no_copy() -> None:
    assert write(make_event(), revision=2)["uid"] == f"{UID}-2"
