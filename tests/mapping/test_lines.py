"""Lines of logs that no JSON is in: logfmt, and what patterns with named groups read."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import MappingError
from adapter.mapping.body import JSON, NOT_FOUND, Record
from adapter.mapping.language import Framing, LinePattern
from adapter.mapping.lines import Lines
from adapter.mapping.table import Table

Make = Callable[[str], Table]
TEXT = "text/plain"

#: sshd, as a syslog has it.
SSHD = r"""
body:
  - media: text/plain
    lines:
      - pattern: '^(?P<result>Accepted|Failed) (?P<method>\S+) for (?:(?P<unknown>invalid user) )?(?P<user>.*?) from (?P<address>\S+) port \d+ ssh2'
      - pattern: '^(?P<result>Disconnected) from (?:authenticating )?user (?P<user>\S+) (?P<address>\S+) port \d+'
    ignore:
      a connection: '^(?:Connection (?:from|closed|reset)|Received disconnect|Server listening) '
type: result
identity: {weak: ["@native", "@line"]}
fields:
  authDetails.username: user
  authDetails.ipAddress: {path: address, as: ip}
  details.auth_method: method
types:
  Accepted: {type: LOGIN}
  Failed:
    - {when: {has: [unknown]}, type: LOGIN_ERROR, reason: unknown_user}
    - {type: LOGIN_ERROR, reason: bad_credentials}
  Disconnected: {type: LOGOUT}
"""  # noqa: E501

FAILED = "Failed password for invalid user admin from 203.0.113.9 port 51222 ssh2"


@pytest.fixture
def sshd(make_table: Make) -> Table:
    return make_table(SSHD)


def read(table: Table, line: str, media: str = TEXT) -> Record:
    (record,) = table.split(line.encode(), media)
    return record


def test_the_groups_of_a_pattern_are_the_paths_of_a_record(sshd: Table) -> None:
    record = read(sshd, FAILED)
    assert record.value == {
        "result": "Failed",
        "method": "password",
        "unknown": "invalid user",
        "user": "admin",
        "address": "203.0.113.9",
        "@line": FAILED,
    }
    event = sshd.result(record, 0).event
    assert event is not None
    assert (event["type"], event["reason"]) == ("access.LOGIN_ERROR", "unknown_user")
    assert event["authDetails"] == {"username": "admin", "ipAddress": "203.0.113.9"}


def test_the_first_pattern_that_fits_reads_the_line(sshd: Table) -> None:
    record = read(sshd, "Disconnected from user anna 203.0.113.9 port 51222")
    assert record.value is not None and record.value["result"] == "Disconnected"


def test_a_line_that_no_pattern_fits_is_passed_over_by_name_or_kept(sshd: Table) -> None:
    passed, kept = sshd.split(b"Connection from 203.0.113.9 port 51222\nFailed none", TEXT)
    assert (passed.ignored, passed.problem) == ("a connection", None)
    assert (kept.ignored, kept.problem, kept.raw) == (None, NOT_FOUND, b"Failed none")


@pytest.mark.parametrize(
    "body",
    [
        FAILED,
        f"May  4 08:00:12 gate sshd[812]: {FAILED}",
        f"<38>1 2026-05-04T08:00:12Z gate sshd 812 - - {FAILED}",
        f"2026-05-04T08:00:12.123456789Z {FAILED}",
    ],
)
def test_a_pattern_stands_once_whatever_a_forwarder_wrote_before_the_line(sshd: Table, body: str) -> None:
    record = read(sshd, body)
    assert record.value is not None
    assert (record.value["user"], record.value["@line"]) == ("admin", FAILED)
    assert record.raw == body.encode()


@pytest.mark.parametrize(
    "body",
    [
        {"log": FAILED + "\n", "stream": "stdout", "time": "2026-05-04T08:00:12Z"},
        {"@timestamp": "2026-05-04T08:00:12Z", "message": FAILED, "agent": {}, "input": {}},
        {"message": f"May  4 08:00:12 gate sshd[812]: {FAILED}"},
    ],
)
def test_so_it_does_in_an_envelope(sshd: Table, body: dict[str, object]) -> None:
    record = read(sshd, json.dumps(body), JSON)
    assert record.value is not None and record.value["user"] == "admin"


def test_a_pattern_may_read_the_time_of_a_head(make_table: Make) -> None:
    table = make_table(
        SSHD.replace("'^(?P<result>Accepted", r"'^(?P<time>\w+ [ \d]\d \S+) \S+ sshd\[\d+\]: (?P<result>Accepted")
    )
    record = read(table, f"May  4 08:00:12 gate sshd[812]: {FAILED}")
    assert record.value is not None
    assert record.value["time"] == "May  4 08:00:12"


NGINX = r"""
body:
  - media: text/plain
    lines:
      pattern: '^(?P<address>\S+) - (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>(?P<method>[A-Z]+) (?P<target>\S+) [^"]*)" (?P<status>\d{3}) \d+ "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
type: target
absent: ["-"]
identity: {weak: [time, "@native", address]}
redact: [{in: target}]
fields:
  time: {path: time, as: '%d/%b/%Y:%H:%M:%S %z'}
types: {/login: {type: LOGIN}}
"""  # noqa: E501
REQUEST = '203.0.113.9 - - [04/May/2026:08:00:12 +0000] "POST /login?token=hunter2 HTTP/1.1" 302 0 "-" "curl/8"'


def test_what_is_redacted_is_cut_out_of_the_line_and_of_all_that_holds_it(make_table: Make) -> None:
    table = make_table(NGINX)
    record = read(table, REQUEST)
    assert record.value is not None
    assert record.raw == REQUEST.replace("/login?token=hunter2", "[redacted]").encode()
    assert "hunter2" not in json.dumps(record.value)
    assert record.value["request"] == "POST [redacted] HTTP/1.1"
    assert read(table, record.raw.decode()).value == record.value


def test_a_line_that_would_not_be_read_again_without_its_secret_is_kept_as_what_was_read(make_table: Make) -> None:
    table = make_table(
        r"""
body: [{media: text/plain, lines: {pattern: '^(?P<kind>in|out) (?P<code>\d+)$'}}]
type: kind
identity: none
redact: [{in: code}]
types: {in: {type: LOGIN}}
"""
    )
    record = read(table, "in 123456")
    assert record.value == {"kind": "in", "code": "[redacted]", "@line": "in [redacted]"}
    assert (record.media, json.loads(record.raw)) == (JSON, record.value)
    assert read(table, record.raw.decode(), record.media).value == record.value


GRAFANA = """
body:
  - media: text/plain
    lines: logfmt
    ignore: {a start: '^Starting Grafana'}
type: msg
identity: none
redact: [{in: token}]
fields: {time: {path: t, as: rfc3339}, authDetails.username: uname}
types:
  Successful Login: {type: LOGIN}
  "Failed *": {type: LOGIN_ERROR, reason: unspecified}
unknown: ignore
"""


def test_lines_of_logfmt_are_records(make_table: Make) -> None:
    table = make_table(GRAFANA)
    line = 't=2026-05-04T08:00:12Z level=info msg="Successful Login" uname=anna token="a b"'
    record = read(table, line)
    cleaned = line.replace('"a b"', "[redacted]")
    assert record.raw == cleaned.encode()
    assert record.value == {
        "t": "2026-05-04T08:00:12Z",
        "level": "info",
        "msg": "Successful Login",
        "uname": "anna",
        "token": "[redacted]",
        "@line": cleaned,
    }
    event = table.result(record, 0).event
    assert event is not None and event["type"] == "access.LOGIN"


def test_a_line_without_a_pair_holds_no_event(make_table: Make) -> None:
    passed, kept = make_table(GRAFANA).split(b"Starting Grafana\npanic: runtime error", TEXT)
    assert (passed.ignored, kept.problem) == ("a start", NOT_FOUND)


def test_where_pairs_begin_may_be_said(make_table: Make) -> None:
    table = make_table(GRAFANA.replace("lines: logfmt", "lines: logfmt\n    find: '(t=).* logger=authn'"))
    found, other = table.split(b"[app] t=1 x=2 logger=authn y=3\nt=1 logger=http msg=x", TEXT)
    assert found.value == {"t": "1", "x": "2", "logger": "authn", "y": "3", "@line": found.raw.decode()}
    assert other.problem == NOT_FOUND


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("{pattern: '^x'}", "body.0.lines.pattern: gives no part of the line a name; write (?P<user>...)"),
        ("{pattern: '(?P<a>x'}", "body.0.lines.pattern: not a pattern of RE2 syntax: missing )"),
        ("[]", "body.0.lines: "),
        ("logfnt", "body.0.lines: should be 'keyvalue', 'logfmt' or 'json'"),
        ("{pattern: '(?P<a>x)'}, find: x", "`find` is for other forms of lines"),
        ("keyvalue, ignore: {a: b}", "`ignore` is about lines in which nothing is found: it needs `find`"),
        ("{pattern: '" + "".join(f"(?P<g{number}>x)" for number in range(25)) + "'}", "has 25 groups; the limit is 24"),
    ],
)
def test_what_no_lines_can_be_read_by_is_refused(make_table: Make, lines: str, complaint: str) -> None:
    with pytest.raises(MappingError) as error:
        make_table(
            f"type: a\nidentity: none\nbody: [{{media: text/plain, lines: {lines}}}]\ntypes: {{x: {{type: LOGIN}}}}\n"
        )
    assert complaint in str(error.value)
    assert len(error.value.each) == 1


def test_parts_of_what_is_redacted_are_gone_with_it(make_table: Make) -> None:
    table = make_table(
        NGINX.replace("in: target", "in: request").replace("type: target", "type: status").replace("/login:", "302:")
    )
    record = read(table, REQUEST)
    assert record.value is not None and not {"target", "method"} & record.value.keys()
    assert "hunter2" not in json.dumps(record.value) and b"hunter2" not in record.raw
    assert read(table, record.raw.decode(), record.media).value == record.value


@given(st.text("ab ", min_size=1), st.text("ab "), st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text("xy ")))
def test_cutting_values_out_leaves_the_rest_of_a_line(line: str, tail: str, values: dict[str, str]) -> None:
    """Whatever is written in the place of groups, those that do not hold it stay."""
    lines = Lines([Framing(media=TEXT, lines=LinePattern(pattern="^(?P<a>a*)(?P<b>b*)(?P<c>.*)$"))])
    found = lines.find(line + tail)
    assert found is not None
    form, start, read_values = found
    assert read_values is not None
    others = {name: values.get(name, told) for name, told in read_values.items()}
    assert form.without(line + tail, start, others) == ("".join(others.get(name, "") for name in "abc"), others)
