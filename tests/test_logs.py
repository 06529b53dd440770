import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage

from adapter.logs import Repetitions, configure_logs


@pytest.fixture(autouse=True)
def _restore_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
    logging.getLogger("aiohttp.server").filters = []
    logging.getLogger("httpx").setLevel(logging.NOTSET)


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_each_entry_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    structlog.get_logger("adapter.test").info("started", port=8282)
    [entry] = logged(capsys)
    assert (entry["event"], entry["port"], entry["level"], entry["logger"]) == ("started", 8282, "info", "adapter.test")
    assert entry["timestamp"].endswith("Z")


def test_what_is_below_the_level_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("warning", "json")
    structlog.get_logger("adapter.test").info("quiet")
    structlog.get_logger("adapter.test").warning("loud")
    assert [entry["event"] for entry in logged(capsys)] == ["loud"]


def test_libraries_log_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    logging.getLogger("aiohttp.server").error("bad %s", "request\x1b[2J")
    [entry] = logged(capsys)
    assert (entry["event"], entry["logger"]) == ("bad request\\u001b[2J", "aiohttp.server")


def test_a_request_of_a_source_that_polls_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    logging.getLogger("httpx").info("HTTP Request: GET")
    logging.getLogger("httpx").warning("odd")
    assert [entry["event"] for entry in logged(capsys)] == ["odd"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_foreign_text_cannot_forge_a_line_or_turn_the_writing(capsys: pytest.CaptureFixture[str], form: Any) -> None:
    configure_logs("info", form)
    structlog.get_logger("adapter.test").info("quarantined", native_type="a\nb\u202ec", parts=["\x1b[31m"])
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert not {"\u202e", "\x1b"} & set(text)


def test_an_exception_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    try:
        raise KeyError("nothing")
    except KeyError as error:
        structlog.get_logger("adapter.test").error("failed", exc_info=error)
    [entry] = logged(capsys)
    assert "KeyError: 'nothing'" in entry["exception"]


def test_a_traceback_for_people_shows_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "console")
    token = "".join(["secret", "-", "token"])
    try:
        raise KeyError(len(token))
    except KeyError as error:
        structlog.get_logger("adapter.test").error("failed", exc_info=error)
    told = capsys.readouterr().err
    assert "KeyError: 12" in told
    assert "secret-token" not in told


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_text_of_an_error_cannot_forge_a_line_or_turn_the_writing(
    capsys: pytest.CaptureFixture[str], form: Any
) -> None:
    configure_logs("info", form)
    try:
        raise ValueError("a\n2026-01-01T00:00:00Z [error] forged\x1b[31m\x9b\u202e\u2028forged")
    except ValueError as error:
        structlog.get_logger("adapter.test").error("failed", exc_info=error)
    first, *lines = capsys.readouterr().err.splitlines()
    assert "failed" in first
    assert not {"\u202e", "\x1b", "\x9b"} & {*first, *"".join(lines)}
    assert [line for line in lines if not line.startswith("  | ")] == []


def test_what_is_not_http_is_one_line_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    server = logging.getLogger("aiohttp.server")
    error = BadHttpMessage("Invalid header: Authorization Bearer secret")
    configure_logs("info", "json")
    server.error("Error handling request from %s", "127.0.0.1", exc_info=error)
    [entry] = logged(capsys)
    assert (entry["event"], entry["level"]) == ("request is not HTTP (BadHttpMessage)", "info")
    configure_logs("warning", "json")
    server.error("Error handling request from %s", "127.0.0.1", exc_info=error)
    server.error("Unhandled", exc_info=KeyError("a bug"))
    assert [entry["event"] for entry in logged(capsys)] == ["Unhandled"]


def test_a_line_that_says_the_same_again_is_kept_back_and_counted() -> None:
    now = 0.0
    let_through = Repetitions(wait=1.0, clock=lambda: now)

    def say(event: str) -> Any:
        try:
            return let_through(None, "error", {"event": event})
        except structlog.DropEvent:
            return None

    assert say("full") == {"event": "full"}
    assert [say("full"), say("full")] == [None, None]
    assert say("empty") == {"event": "empty"}
    now = 1.0
    assert say("full") == {"event": "full", "times": 3}
    now = 2.0
    assert say("full") == {"event": "full"}


def test_repeated_lines_are_kept_back_and_tracebacks_never(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    log = structlog.get_logger("adapter.test")
    for _ in range(3):
        log.warning("store_unavailable", problem="full")
        log.warning("failed", exc_info=ValueError("x"))
    assert [entry["event"] for entry in logged(capsys)] == ["store_unavailable", "failed", "failed", "failed"]
