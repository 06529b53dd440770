"""What counts of a sink that the log keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr

from adapter.log.memory import open_memory_log
from adapter.sealing import open_sealing
from adapter.sink_management.stored import Retiring, StoredSink, given_of, read_stored, shown
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


async def test_secrets_that_an_earlier_version_stored_are_redacted_still(tmp_path: Path) -> None:
    async with open_memory_log() as log:
        sealing = await open_sealing(log, tmp_path, None, None, is_shared=False)
        await sealing.prepare()
        note = stored(Retiring(SecretStr(OLD), 1000)).note(sealing)
        tree = orjson.loads(note.text)
        assert tree.pop("redacted") == []  # that version had no such member
        found = read_stored(note._replace(text=orjson.dumps(tree).decode()), sealing)
        assert found is not None
        assert set(found.redacted_secrets()) == {OLD, NEW}
