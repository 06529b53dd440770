from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from adapter.outgoing.settings import OutgoingSettings
from adapter.sinks import file, webhook
from adapter.sinks.settings import KINDS, AnySinkSettings, open_sink, read_sink_settings


class Whole(BaseModel):
    sinks: tuple[AnySinkSettings, ...] = ()


def test_a_kind_is_found_by_its_name() -> None:
    read = Whole.model_validate(
        {
            "sinks": [
                {"name": "soc", "kind": "webhook", "url": "https://soc.example/"},
                {"name": "out", "kind": "file", "path": "out.ndjson"},
            ]
        }
    )
    assert [type(sink) for sink in read.sinks] == [webhook.Settings, file.Settings]


def test_there_are_these_kinds() -> None:
    assert KINDS.names() == ["file", "webhook"]


@pytest.mark.parametrize("kind", ["carrier-pigeon", "settings", "../os", "", None, 7])
def test_an_unknown_kind_is_refused_and_the_known_ones_named(kind: Any) -> None:
    with pytest.raises(ValidationError, match="file, webhook"):
        Whole.model_validate({"sinks": [{"name": "x", "kind": kind}]})


def test_errors_keep_their_place_in_the_whole() -> None:
    with pytest.raises(ValidationError) as refusal:
        Whole.model_validate({"sinks": [{"name": "x", "kind": "file"}]})
    assert [error["loc"] for error in refusal.value.errors()] == [("sinks", 0, "path")]


def test_a_secret_may_stand_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    (tmp_path / "secret").write_text(secret + "\n")
    read = read_sink_settings(
        {"name": "soc", "kind": "webhook", "url": "https://soc.example/", "secret_file": str(tmp_path / "secret")}
    )
    assert isinstance(read, webhook.Settings)
    assert read.secrets() == [secret]
    assert "MfKQ" not in repr(read)


def test_one_filter_value_is_a_list_of_one() -> None:
    read = read_sink_settings({"name": "x", "kind": "file", "path": "x", "filter": {"type": "access.*"}})
    assert read.filter == {"type": ["access.*"]}


async def test_a_sink_opens_by_its_settings(tmp_path: Path) -> None:
    read = read_sink_settings({"name": "out", "kind": "file", "path": str(tmp_path / "out.ndjson")})
    async with open_sink(read, OutgoingSettings()) as sink:
        assert isinstance(sink, file.File)
