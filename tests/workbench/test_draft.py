"""What is proposed for samples: by names, by values, by how often they are there; and from the lines of logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.errors import MappingError
from adapter.mapping.body import NOT_FOUND
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.table import load_table
from adapter.resources import mappings_path
from adapter.workbench.apply import records_of
from adapter.workbench.check import check_table
from adapter.workbench.draft import Draft, draft
from adapter.workbench.examples import read_examples
from adapter.workbench.likely import likely_row
from adapter.workbench.samples import read_samples

PROVIDERS = sorted(file.parent.name for file in mappings_path().glob("*/mapping.yaml"))


def proposed(body: bytes, folder: Path) -> Draft:
    """A draft, written into its folder."""
    found = draft("acme", read_samples(body, "samples"), folder / "acme")
    found.examples_file.parent.mkdir(parents=True)
    found.file.write_text(found.mapping)
    found.examples_file.write_text(found.examples)
    return found


def table_of(found: Draft) -> Any:
    return yaml.safe_load(found.mapping)


def complaints(found: Draft, catalogue: Catalogue) -> list[str]:
    """What the check finds beside what only a person decides."""
    findings = check_table(load_table(found.file, catalogue), strict=False)
    left = ("is not decided", "expects nothing yet", "name an id of the provider under strong")
    return [str(one) for one in findings if not any(words in one.text for words in left)]


def of(*events: dict[str, Any]) -> bytes:
    return json.dumps(events).encode()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_check_finds_nothing_in_what_is_proposed_for_real_events(
    provider: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    raws = [one.example.raw for one in read_examples(mappings_path() / provider) if isinstance(one.example.raw, dict)]
    assert complaints(proposed(of(*raws), tmp_path), catalogue) == []


def test_a_name_is_read_by_its_words(tmp_path: Path) -> None:
    events = [{"kind": "in", "at": f"2026-05-04T08:00:0{n}Z", "factor": "otp", "contractor": "x"} for n in range(3)]
    fields = table_of(proposed(of(*events), tmp_path))["fields"]
    assert "authDetails.userId" not in fields
    assert fields["details.factor"] == "factor"


def test_an_agreed_detail_has_only_values_of_its_form(tmp_path: Path) -> None:
    said = {"factor": "duo_push", "country": "Netherlands", "role": ["a", "b"], "city": "Utrecht", "mfa": True}
    events = [{"kind": "in", "at": f"2026-05-04T08:00:0{n}Z", **said} for n in range(3)]
    fields = table_of(proposed(of(*events), tmp_path))["fields"]
    assert {name: found for name, found in fields.items() if name.startswith("details.")} == {
        "details.native_factor": "factor",
        "details.country": {"path": "country", "as": "country"},
        "details.role": {"path": "role", "as": "list"},
        "details.city": "city",
        "details.mfa": "mfa",
    }


def test_who_acts_acts_again_and_is_there_most_often(tmp_path: Path) -> None:
    events = [
        {"kind": "in", "at": f"2026-05-04T08:00:0{n}Z", "user": f"request-{n}", "actor": {"id": f"u{n % 2}"}}
        for n in range(8)
    ]
    events[0]["userId"] = "u9"
    fields = table_of(proposed(of(*events), tmp_path))["fields"]
    assert fields["authDetails.userId"] == "actor.id"


def test_the_address_of_a_server_is_not_that_of_who_came(tmp_path: Path) -> None:
    events = [{"kind": "in", "at": 1767312000 + n, "server_ip": "10.0.0.1", "peer": f"203.0.113.{n}"} for n in range(3)]
    assert table_of(proposed(of(*events), tmp_path))["fields"]["authDetails.ipAddress"] == {"path": "peer", "as": "ip"}


def test_when_something_expires_is_not_when_it_happened(tmp_path: Path) -> None:
    events = [{"kind": "in", "expiresAt": 1767412000, "logged": f"0{n}/May/2026:08:00:00 +0200"} for n in range(1, 4)]
    fields = table_of(proposed(of(*events), tmp_path))["fields"]
    assert fields["time"] == {"path": "logged", "as": "%d/%b/%Y:%H:%M:%S %z"}


def test_a_mail_address_is_a_name_and_no_id(tmp_path: Path) -> None:
    events = [{"kind": "in", "at": 1767312000 + n, "user": "anna@shop.example"} for n in range(3)]
    fields = table_of(proposed(of(*events), tmp_path))["fields"]
    assert (fields.get("authDetails.userId"), fields["authDetails.username"]) == (None, "user")


def test_events_of_several_forms_have_their_type_at_several_paths(tmp_path: Path) -> None:
    events = [{"kind": "in", "at": 1767312000 + n} for n in range(5)]
    events += [{"data": {"event": "out"}, "at": 1767312100 + n} for n in range(3)]
    table = table_of(proposed(of(*events), tmp_path))
    assert (table["type"], [*table["types"]]) == (["kind", "data.event"], ["in", "out"])


def test_details_are_few_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    events = [
        {"kind": "in", "at": 1767312000 + n, "userAgent": "curl/8", "level": "info", **{f"x{i}": n for i in range(20)}}
        for n in range(5)
    ]
    found = proposed(of(*events), tmp_path)
    details = [name for name in table_of(found)["fields"] if name.startswith("details.")]
    assert len(details) == 10
    assert details[0] == "details.user_agent"
    [left] = [one for one in found.remarks if one.startswith("no details are")]
    assert "level" in left and "x19" in left


def test_a_status_says_what_failed_and_a_text_why(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [
        {"action": "user.login", "at": 1767312000, "success": True},
        {"action": "user.login", "at": 1767312001, "success": False, "why": "wrong password"},
        {"action": "user.login", "at": 1767312002, "success": False, "why": "no such user"},
    ]
    found = proposed(of(*events), tmp_path)
    table = table_of(found)
    assert table["failed"] == {"success": [False]}
    assert table["fields"]["details.native_error"] == "why"
    assert "  user.login: {type: DECIDE}  # likely {type: LOGIN}\n" in found.mapping
    assert "table: {wrong password: bad_credentials, no such user: unknown_user}" in found.mapping
    assert [one["raw"]["success"] for one in yaml.safe_load(found.examples)] == [False, False, True]


@pytest.mark.parametrize(
    ("native", "row"),
    [
        ("signin_ok", {"type": "LOGIN"}),
        ("signin_bad", {"type": "LOGIN_ERROR", "reason": "unspecified"}),
        ("user.login.failed.password", {"type": "LOGIN_ERROR", "reason": "bad_credentials"}),
        ("Failed to authenticate request", {"type": "LOGIN_ERROR", "reason": "unspecified"}),
        ("SESSION_LOGOUT", {"type": "LOGOUT"}),
        ("PasswordChanged", {"type": "UPDATE_PASSWORD"}),
        ("password_reset_requested", {"type": "RESET_PASSWORD"}),
        ("account.locked", {"type": "USER_DISABLED_BY_TEMPORARY_LOCKOUT"}),
        ("mfa.enrolled", {"type": "UPDATE_CREDENTIAL"}),
        ("otp_invalid", {"type": "VALIDATE_OTP_ERROR", "reason": "code_invalid"}),
        ("CODE_TO_TOKEN_ERROR", {"type": "CODE_TO_TOKEN_ERROR", "reason": "code_invalid"}),
        ("verify_email", {"type": "VERIFY_EMAIL"}),
        ("cart_opened", None),
        ("heartbeat", None),
    ],
)
def test_the_row_that_a_type_probably_wants(native: str, row: dict[str, str] | None, catalogue: Catalogue) -> None:
    assert likely_row(native, catalogue) == row


def test_a_secret_is_known_by_its_form(tmp_path: Path) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0NzExIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
    events = [
        {"kind": "in", "at": 1767312000 + n, "data": {"proof": token}, "note": f"Bearer {token}", "to": "https://x/"}
        for n in range(3)
    ]
    found = proposed(of(*events), tmp_path)
    assert table_of(found)["redact"] == [{"in": "data", "keys": ["proof"]}, {"in": "note"}]
    assert token not in found.mapping + found.examples


LOGFMT = """\
logger=authn t=2026-05-04T08:00:12.1Z level=warn msg="Failed to authenticate request" uname=anna remote_addr=203.0.113.9
logger=authn t=2026-05-04T08:00:13.1Z level=info msg="Successful Login" uname=ben remote_addr=203.0.113.9 token=hidden-1
logger=authn t=2026-05-04T08:00:14.1Z level=info msg="Successful Login" uname=anna remote_addr=203.0.113.10
Starting
"""


def test_lines_of_logfmt_are_read(tmp_path: Path, catalogue: Catalogue) -> None:
    found = proposed(LOGFMT.encode(), tmp_path)
    table = table_of(found)
    assert table["body"] == [{"media": "text/plain", "lines": "logfmt"}]
    assert (table["type"], table["identity"]) == ("msg", {"weak": ["@native", "t", "@line"]})
    assert table["fields"]["time"] == {"path": "t", "as": "rfc3339"}
    assert table["fields"]["authDetails.username"] == "uname"
    assert [one["name"] for one in yaml.safe_load(found.examples)] == [
        "Failed to authenticate request", "Successful Login", "Successful Login 2",
    ]  # fmt: skip
    assert "hidden-1" not in found.examples
    assert any("1 line" in one for one in found.remarks)
    assert complaints(found, catalogue) == []


def test_the_lines_of_a_log_are_applied_as_they_are(tmp_path: Path, catalogue: Catalogue) -> None:
    table = load_table(proposed(LOGFMT.encode(), tmp_path).file, catalogue)
    assert [record.problem for record in records_of(table, LOGFMT.encode())] == [None, None, None, NOT_FOUND]
    (record,) = records_of(table, b'{"msg": "Successful Login"}\n')
    assert record.value == {"msg": "Successful Login"}


def test_a_type_may_be_the_beginning_of_a_text(tmp_path: Path, catalogue: Catalogue) -> None:
    lines = [
        f'time="2026-05-04T08:00:1{n}Z" level=info msg="login successful: connector \\"ldap\\", username=\\"u{n}\\""'
        for n in range(3)
    ]
    found = proposed("\n".join(lines).encode(), tmp_path)
    table = table_of(found)
    assert table["type"]["path"] == "msg" and [*table["types"]] == ["login successful"]
    assert complaints(found, catalogue) == []


KEYVALUE = """\
2026-05-04 08:00:12,123 INFO  [shop.events] (main) type="LOGIN", realm="shop", userId="4711", ip="203.0.113.9"
2026-05-04 08:00:13,456 WARN  [shop.events] (main) type="LOGIN_ERROR", realm="shop", error="user_not_found"
"""


def test_lines_of_pairs_with_commas_are_read_behind_what_stands_before_them(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    found = proposed(KEYVALUE.encode(), tmp_path)
    table = table_of(found)
    assert table["body"] == [{"media": "text/plain", "lines": "keyvalue", "find": r"(?:^|\s)(type=)"}]
    assert table["fields"]["time"]["path"] == "@line"
    assert "table: {user_not_found: unknown_user}" in found.mapping
    assert complaints(found, catalogue) == []


def test_json_behind_a_head_is_read(tmp_path: Path, catalogue: Catalogue) -> None:
    lines = [
        "<38>1 2026-05-04T08:00:12Z gate app 812 - - "
        + json.dumps({"id": f"e{n}", "at": 1767312000 + n, "kind": "in", "password": f"hidden-{n}"})
        for n in range(3)
    ]
    found = proposed("\n".join(lines).encode(), tmp_path)
    table = table_of(found)
    assert "body" not in table
    assert (table["type"], table["identity"]) == ("kind", {"strong": "id"})
    assert "hidden" not in found.examples
    assert complaints(found, catalogue) == []


def test_what_forwarders_wrapped_is_taken_out(tmp_path: Path, catalogue: Catalogue) -> None:
    events = [{"id": f"e{n}", "at": 1767312000 + n, "kind": "in"} for n in range(3)]
    bridged = [{"detail-type": "x", "source": "y", "time": "2026-05-04T08:00:12Z", "detail": one} for one in events]
    docker = [{"log": json.dumps(one) + "\n", "stream": "stdout", "time": "2026-05-04T08:00:12Z"} for one in events]
    for number, body in enumerate((of(*bridged), of(*docker))):
        found = proposed(body, tmp_path / str(number))
        assert [one["raw"] for one in yaml.safe_load(found.examples)] == events
        assert complaints(found, catalogue) == []
    lines = [{"log": line + "\n", "stream": "stderr", "time": "2026-05-04T08:00:12Z"} for line in LOGFMT.splitlines()]
    assert table_of(proposed(of(*lines), tmp_path / "lines"))["body"] == [{"media": "text/plain", "lines": "logfmt"}]


def test_other_lines_are_refused_with_what_would_read_them() -> None:
    with pytest.raises(MappingError, match=r"lines: \{pattern:"):
        read_samples(b"Failed password for root from 203.0.113.9 port 1 ssh2\n", "samples")
