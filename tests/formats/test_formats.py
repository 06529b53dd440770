"""Every format that is found, and one that only this test has: with a header of its own, and settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import orjson
import pytest
from pydantic import BaseModel, Field, ValidationError

from adapter.formats.protocol import Format, is_appendable, is_whole
from adapter.formats.settings import (
    DEFAULT,
    AnyFormat,
    FormatSettings,
    format_names,
    make_format,
    read_format_settings,
)
from adapter.formats.text import harmless
from adapter.model import Entry
from tests.formats.conformance import FormatConformance, make_entry, make_event


class SyslogSettings(FormatSettings):
    name: Literal["syslog"] = "syslog"
    facility: int = Field(10, ge=0, le=23)
    product: str = "idp-event-adapter"


class Syslog:
    """As a format of RFC 5424 would be: what it needs besides the event are settings, its frame is a sink's."""

    media_type = "text/plain; charset=utf-8"
    record_media_type = "text/plain; charset=utf-8"
    list_media_type = None
    ending = "log"
    header = footer = b""
    record_end = b"\n"
    one_line = True

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings

    def write(self, entries: Sequence[Entry]) -> list[bytes]:
        return [self._line(orjson.loads(entry.event)) for entry in entries if entry.event is not None]

    def _line(self, event: dict[str, Any]) -> bytes:
        priority = self._settings.facility * 8 + (6 if event["outcome"] == "success" else 5)
        value = harmless(f"{event['uid']} {event['type']}").replace("\\", "\\\\").replace("]", "\\]")
        return f"<{priority}>1 - - {self._settings.product} - - - {value}".encode()


class JsonArray:
    """A format with a header and a footer whose records take several lines."""

    media_type = record_media_type = list_media_type = "application/json"
    ending = "json"
    header, footer = b"[\n", b"null]\n"
    record_end = b",\n"
    one_line = False

    def write(self, entries: Sequence[Entry]) -> list[bytes]:
        return [
            orjson.dumps(orjson.loads(entry.event), option=orjson.OPT_INDENT_2)
            for entry in entries
            if entry.event is not None
        ]


BINARY = make_format(read_format_settings({"name": "cloudevents", "mode": "binary"}))
FORMATS: list[Format] = [make_format(read_format_settings(name)) for name in format_names()]


@pytest.fixture(
    params=[*FORMATS, BINARY, Syslog(SyslogSettings(facility=4)), JsonArray()],
    ids=lambda form: type(form).__name__,
    scope="module",
)
def form(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    return found


class TestFormatsConform(FormatConformance):
    pass


class Whole(BaseModel):
    format: AnyFormat = Field(DEFAULT, validate_default=True)


def test_there_are_these_formats() -> None:
    assert format_names() == ["cloudevents", "csv", "keycloak", "phasetwo", "unified"]


def test_a_format_is_chosen_by_its_name_or_with_its_settings() -> None:
    csv = Whole.model_validate({"format": "csv"}).format
    assert csv == Whole.model_validate({"format": {"name": "csv"}}).format
    assert csv.name == "csv"
    assert Whole().format.name == "unified"


@pytest.mark.parametrize("name", ["xml", "text", "protocol", "../text", "", 7, None, {}, {"name": "settings"}])
def test_an_unknown_format_is_refused_and_the_known_ones_named(name: Any) -> None:
    with pytest.raises(ValidationError, match="cloudevents, csv, keycloak, phasetwo, unified"):
        Whole.model_validate({"format": name})


def test_errors_in_a_formats_settings_keep_their_place() -> None:
    with pytest.raises(ValidationError) as refusal:
        Whole.model_validate({"format": {"name": "csv", "colour": "red"}})
    assert [error["loc"] for error in refusal.value.errors()] == [("format", "colour")]


def test_which_formats_fit_is_told_by_what_they_say_of_themselves() -> None:
    assert format_names(is_whole) == ["cloudevents", "keycloak", "phasetwo", "unified"]
    assert format_names(is_appendable) == ["cloudevents", "csv", "keycloak", "phasetwo", "unified"]
    assert not is_appendable(JsonArray())
    assert not is_appendable(BINARY)
    assert is_whole(Syslog(SyslogSettings()))


def test_unified_is_what_is_stored() -> None:
    entry = make_entry(make_event())
    assert make_format(read_format_settings("unified")).write([entry]) == [entry.event]
