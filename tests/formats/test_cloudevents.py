"""CloudEvents as the specification's own library reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from pydantic import ValidationError

from adapter.formats.protocol import Format, HeadedFormat
from adapter.formats.settings import make_format, read_format_settings
from tests.formats.conformance import BARE, HOSTILE, make_entry, make_event

UID = "0b5f3a52-2a0e-5c0a-9a57-0f0f6a1c9e11"


def make(**more: Any) -> Format:
    return make_format(read_format_settings({"name": "cloudevents", **more}))


def structured(event: dict[str, Any], revision: int = 0, **more: Any) -> BaseCloudEvent:
    form = make(**more)
    (record,) = form.write([make_entry(event)._replace(revision=revision)])
    return from_http_event(HTTPMessage({"content-type": form.record_media_type}, record))


def binary(event: dict[str, Any], revision: int = 0, **more: Any) -> BaseCloudEvent:
    form = make(mode="binary", **more)
    assert isinstance(form, HeadedFormat)
    entries = [make_entry(event)._replace(revision=revision)]
    (record,), (headers,) = form.write(entries), form.write_headers(entries)
    return from_http_event(HTTPMessage({"content-type": form.record_media_type, **headers}, record))


@pytest.fixture(params=[structured, binary])
def read(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_its_attributes_say_which_event_it_is_and_its_data_is_the_unified_event(read: Any) -> None:
    event = make_event("Zoë", type="access.LOGIN")
    del event["resourcePath"]
    event["source"]["name"] = "keycloak-prod"
    got = read(event)
    assert (got.get_id(), got.get_type(), got.get_source()) == (UID, "access.LOGIN", "/sources/keycloak-prod")
    assert got.get_subject() == "users/Zoë"
    assert got.get_time() == datetime(2023, 11, 14, 22, 13, 20, 123000, UTC)
    assert got.get_datacontenttype() == "application/json"
    assert got.get_dataschema() is None
    assert got.get_data() == event


def test_an_admin_event_is_about_its_resource(read: Any) -> None:
    assert read(make_event(type="admin.USER-CREATE", resourcePath="users/u-1")).get_subject() == "users/u-1"


def test_the_least_event_is_one(read: Any) -> None:
    got = read(dict(BARE))
    assert got.get_subject() is None
    assert got.get_data() == BARE


def test_a_correction_has_an_id_of_its_own(read: Any) -> None:
    assert read(make_event(), revision=2).get_id() == f"{UID}-2"


def test_source_and_schema_are_where_the_operator_says(read: Any) -> None:
    event = make_event()
    event["source"]["name"] = "Büro/1"
    got = read(event, source="https://idp.example/", dataschema="https://idp.example/event.json")
    assert got.get_source() == "https://idp.example/B%C3%BCro%2F1"
    assert got.get_dataschema() == "https://idp.example/event.json"


def test_a_time_beyond_the_calendar_is_left_out() -> None:
    (record,) = make().write([make_entry(make_event(time=2**62))])
    assert "time" not in orjson.loads(record)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_both_modes_say_the_same_of_any_text(text: str) -> None:
    one, other = structured(make_event(text)), binary(make_event(text))
    assert one.get_attributes() == other.get_attributes()
    assert one.get_data() == other.get_data()
    said = f"{one.get_type()}{one.get_subject() or ''}"
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in said)
    assert len(said) < 600


def test_headers_are_encoded_as_the_http_binding_asks() -> None:
    form = make(mode="binary")
    assert isinstance(form, HeadedFormat)
    # The example of the specification (HTTP protocol binding 3.1.3.2).
    (headers,) = form.write_headers([make_entry(make_event(type="Euro € 😀"))])
    assert headers["ce-type"] == "Euro%20%E2%82%AC%20%F0%9F%98%80"
    (headers,) = form.write_headers([make_entry(make_event(type='"%~!'))])
    assert headers["ce-type"] == "%22%25~!"


def test_a_list_is_a_batch_of_the_json_format() -> None:
    form = make()
    assert form.list_media_type == "application/cloudevents-batch+json"
    records = form.write([make_entry(make_event("a")), make_entry(make_event("b"))])
    assert [one["specversion"] for one in orjson.loads(b"[" + b",".join(records) + b"]")] == ["1.0", "1.0"]


@pytest.mark.parametrize("wrong", [{"mode": "batch"}, {"source": ""}, {"source": "a b"}, {"dataschema": "event.json"}])
def test_a_wrong_setting_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(**wrong)
