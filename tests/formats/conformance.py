"""What every format must do; run by each one that is found, and by formats that only tests have."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.event import AuthDetails, Event, Origin
from adapter.formats.protocol import Format, HeadedFormat
from adapter.model import Entry, Outcome

#: Text that would end a line, a cell, a field or a record, be run by a spreadsheet, move a cursor, or turn the
#: direction of writing.
HOSTILE = (
    "a\nb",
    "a\r\nb",
    "\x00\x1b[2J\x07\x7f\x85",
    "\u2028\u2029\u202e\u2066\ufeff",
    "=cmd|' /C calc'!A0\",\"x",
    "\\|]=^\"'\t;<>{}%",
    'a"\\',
    "]]><!--",
    "x" * 70_000,
    "\U0010ffff\ufffe日本",
    "",
)


def make_entry(event: dict[str, Any], position: int = 1) -> Entry:
    """An entry with this event, which is of the unified model."""
    checked = Event.model_validate(event)
    written = orjson.dumps(event)
    return Entry(
        position=position,
        uid=checked.uid.bytes,
        revision=event["source"].get("revision", 0),
        received_at=event["source"]["receivedAt"],
        source=event["source"]["name"],
        type=event["type"],
        event=written,
        problem=None,
        native_type=event["source"]["nativeType"],
    )


def make_event(text: str = "anna", **more: Any) -> dict[str, Any]:
    """An event with the same text in every place that takes any; where it must not be empty, with a letter behind."""
    some = text or "x"
    return {
        "uid": "0b5f3a52-2a0e-5c0a-9a57-0f0f6a1c9e11",
        "id": some,
        "time": 1_700_000_000_123,
        "realmId": some,
        "realmName": some,
        "type": f"custom.{some}",
        "error": some,
        "authDetails": dict.fromkeys(AuthDetails.model_fields, some),
        "details": {text: text, "other": text},
        "resourceType": some,
        "operationType": some,
        "resourcePath": some,
        "representation": some,
        "outcome": "failure",
        "reason": some,
        "source": {
            "name": some,
            "provider": some,
            "nativeType": some,
            "receivedAt": 1_700_000_000_456,
            "mapping": some,
            "normalizedAt": 1_700_000_000_789,
            "revision": 3,
        },
        **more,
    }


#: The least that an event has.
BARE = {
    "uid": "0b5f3a52-2a0e-5c0a-9a57-0f0f6a1c9e11",
    "time": 0,
    "type": "access.LOGIN",
    "outcome": "unknown",
    "source": {"name": "kc", "provider": "keycloak", "nativeType": "LOGIN", "receivedAt": 0, "mapping": "keycloak@1"},
}

_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_number = st.integers(0, 2**63 - 1)
_optional = dict.fromkeys(
    (
        "id",
        "realmId",
        "realmName",
        "error",
        "resourceType",
        "operationType",
        "resourcePath",
        "representation",
        "reason",
    ),
    _text,
)
#: Any event of the unified model.
EVENTS = st.fixed_dictionaries(
    {
        "uid": st.uuids().map(str),
        "time": _number,
        "type": _text,
        "outcome": st.sampled_from([str(one) for one in Outcome]),
        "source": st.fixed_dictionaries(
            {"name": _text, "provider": _text, "nativeType": _text, "receivedAt": _number, "mapping": _text},
            optional={"normalizedAt": _number, "revision": st.integers(1, 99)},
        ),
    },
    optional={
        **_optional,
        "authDetails": st.fixed_dictionaries({}, optional=dict.fromkeys(AuthDetails.model_fields, _text)),
        "details": st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), _text, max_size=4),
    },
)


def test_events_of_these_tests_have_every_field_of_the_model() -> None:
    assert make_event().keys() == Event.model_fields.keys()
    assert make_event()["source"].keys() == Origin.model_fields.keys()


class FormatConformance:
    """Subclass it, and give it a ``form``."""

    def test_each_entry_is_one_record_in_their_order(self, form: Format) -> None:
        entries = [make_entry(make_event(str(number), uid=str(uuid.UUID(int=number)))) for number in range(5)]
        records = form.write(entries)
        assert len(records) == 5
        assert records == [record for entry in entries for record in form.write([entry])]
        assert len(set(records)) == 5

    def test_no_entries_are_no_records(self, form: Format) -> None:
        assert form.write([]) == []

    def test_what_is_quarantined_is_left_out(self, form: Format) -> None:
        entry = make_entry(make_event())
        assert len(form.write([entry._replace(event=None, type=None, problem="no row fits"), entry])) == 1

    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    def test_no_text_ends_its_record(self, form: Format, text: str) -> None:
        (record,) = form.write([make_entry(make_event(text))])
        (tame,) = form.write([make_entry(make_event())])
        end = form.record_end
        document = form.header + record + end + tame + end + form.footer
        assert record
        if form.one_line:
            assert b"\n" not in record
            assert b"\r" not in record
            assert document.count(b"\n") == (form.header + form.footer + 2 * end).count(b"\n")

    def test_what_it_writes_is_utf_8(self, form: Format) -> None:
        for text in HOSTILE:
            (record,) = form.write([make_entry(make_event(text))])
            record.decode()
        (form.header + form.record_end + form.footer).decode()

    def test_the_least_event_is_a_record(self, form: Format) -> None:
        assert form.write([make_entry(dict(BARE))])[0]

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(event=EVENTS)
    def test_any_event_of_the_model_is_one_record(self, form: Format, event: dict[str, Any]) -> None:
        (record,) = form.write([make_entry(event)])
        assert record
        assert not (form.one_line and b"\n" in record)

    def test_it_does_not_change_what_it_is_given(self, form: Format) -> None:
        entry = make_entry(make_event())
        before = orjson.loads(entry.event or b"")
        form.write([entry])
        assert orjson.loads(entry.event or b"") == before

    def test_it_says_what_a_file_of_it_is(self, form: Format) -> None:
        for media in (form.media_type, form.record_media_type):
            kind, _, sub = media.partition(";")[0].partition("/")
            assert kind in ("application", "text")
            assert sub
        assert form.ending.isalnum()
        assert form.record_end

    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    def test_a_list_of_its_records_is_json_where_it_says_so(self, form: Format, text: str) -> None:
        records = form.write([make_entry(make_event(text)), make_entry(make_event())])
        if form.list_media_type is not None:
            assert len(orjson.loads(b"[" + b",".join(records) + b"]")) == 2

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(event=EVENTS)
    def test_what_it_says_in_headers_can_stand_there(self, form: Format, event: dict[str, Any]) -> None:
        if not isinstance(form, HeadedFormat):
            return
        entries = [make_entry(event), make_entry(event)._replace(event=None, type=None), make_entry(make_event())]
        told = form.write_headers(entries)
        assert len(told) == len(form.write(entries)) == 2
        for headers in told:
            for name, value in headers.items():
                assert name == name.lower()
                assert value
                assert value.isascii()
                assert value.isprintable()
