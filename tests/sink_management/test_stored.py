"""What counts of a sink that the log keeps."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from adapter.sink_management.stored import Retiring, StoredSink, given_of, shown
from adapter.sinks.settings import read_sink_settings

OLD, NEW = "whsec_" + "A" * 32, "whsec_" + "B" * 32


def stored(*retiring: Retiring, **more: Any) -> StoredSink:
    given = {"name": "soc", "kind": "webhook", "url": "https://soc.example/", "secret": NEW, **more}
    return StoredSink("soc", "snk_1", 1, 0, "zoe", 0, "zoe", given_of(read_sink_settings(given)), retiring)


def secrets(sink: StoredSink, now: int) -> list[str]:
    settings: Any = sink.settings(now)
    return [str(one.get_secret_value()) for one in settings.secret]


def test_a_replaced_secret_signs_until_its_end() -> None:
    sink = stored(Retiring(SecretStr(OLD), 1000))
    assert secrets(sink, 999) == [NEW, OLD]
    assert secrets(sink, 1000) == [NEW]


def test_one_that_only_fails_is_stopped_after_five_days_unless_it_says_otherwise() -> None:
    assert stored().settings(0).disable_after == "5d"
    assert stored(disable_after="12h").settings(0).disable_after == "12h"


def test_what_was_given_is_kept_without_defaults_and_shown_without_secrets() -> None:
    given = stored(filter={"type": "access.*"}, **{"from": "2026-01-02T03:04:05Z"}).given
    assert shown(given) == {
        "name": "soc",
        "kind": "webhook",
        "url": "https://soc.example/",
        "secret": ["<kept>"],
        "filter": {"type": ["access.*"]},
        "from": "2026-01-02T03:04:05Z",
    }
    assert given_of(read_sink_settings(given)) == given
