"""Files of what another sender posted are read in the forms in which people have them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapter.commands.recordings import VALUE, is_recording, read_recording
from adapter.errors import ConfigError

EVENT = {
    "id": "i",
    "time": 1,
    "type": "access.LOGIN",
    "realmId": "acme",
    "authDetails": {"userId": "zoe", "username": "zoe"},
    "details": {"username": "zoe"},
    "representation": '{"type": "x", "time": 3, "details": {}}',
}
#: What of it is compared.
COMPARED = {"id": "i", "time": 1, "type": "access.LOGIN", "realmId": "acme", "authDetails": {"userId": "zoe"}}

LINE = json.dumps(EVENT)
CAPTURED = {"received": 2, "headers": {"Content-Type": "application/json"}, "body": LINE}


def read(file: Path) -> list[Any]:
    return [orjson.loads(line) for line in read_recording(str(file))]


def numbered(*numbers: int) -> list[Any]:
    return [{**COMPARED, "line": number} for number in numbers]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"{LINE}\n{LINE}\n", [1, 2]),
        (f"\n{LINE}\n\n{LINE}", [1, 3]),
        (json.dumps([EVENT, EVENT]), [1, 2]),
        (json.dumps([EVENT, EVENT], indent=2), [1, 2]),
        (json.dumps(EVENT, indent=2) + json.dumps(EVENT, indent=2), [1, 2]),
        (json.dumps(CAPTURED), [1]),
        (json.dumps({"type": "request", "time": 5, "request": {"body": EVENT}}), [1]),
        (json.dumps({"specversion": "1.0", "id": "c", "type": "access.LOGIN", "data": EVENT}), [1]),
        (f"2026-05-01 INFO POST /hook {LINE}\n", [1]),
        (f"[{LINE},{LINE}]\n{LINE}\n", [1, 2, 3]),
    ],
)
def test_bodies_are_found_in_what_is_around_them(tmp_path: Path, text: str, lines: list[int]) -> None:
    (tmp_path / "old").write_text(text)
    assert read(tmp_path / "old") == numbered(*lines)
    (tmp_path / "old.gz").write_bytes(gzip.compress(text.encode()))
    assert read(tmp_path / "old.gz") == numbered(*lines)


def test_a_line_without_an_event_is_one_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(f"{LINE}\nGET /health 200\n{LINE}\n")
    assert read(tmp_path / "old") == [*numbered(1), {}, *numbered(3)]


def test_what_no_other_json_takes_is_no_event(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(f'[{LINE}, {LINE.replace("acme", chr(92) + "ud800")}, {{"a": {10**40}}}]')
    assert read(tmp_path / "old") == [*numbered(1), {}, {}]


def test_a_list_of_any_length_is_read_a_piece_at_a_time(tmp_path: Path) -> None:
    with (tmp_path / "old").open("w") as file:
        file.write("[")
        for number in range(20_000):
            file.write(f"{',' * bool(number)}\n  {json.dumps({**EVENT, 'id': f'ü-{number}'}, ensure_ascii=False)}")
        file.write("]")
    assert [one["id"] for one in read(tmp_path / "old")] == [f"ü-{number}" for number in range(20_000)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'[{"a": 1}, nope]', "value 2 is no JSON"),
        (b'[{"a": "\xff"}]', "is no UTF-8"),
        (b"[" + b'"' + b"x" * (VALUE + 1000), "value 1 is no JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_place(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "old").write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        read(tmp_path / "old")
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "none")


def test_names_of_sinks_are_no_files() -> None:
    assert [is_recording(one) for one in ("soc", "soc-2", "-", "old.json", "./old")] == [False, False, True, True, True]
