"""What people who write tables do: draft, check, apply, explain, accept, compare, see what is covered."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import yaml
from typer.testing import CliRunner

from adapter.commands.mapping import app
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.secret_names import speaks_of_secret
from adapter.mapping.table import load_table
from adapter.resources import mappings_path
from adapter.subprocesses import environment
from adapter.workbench.unsaved import Unsaved, place_of, texts_of

SAMPLES = [
    {
        "eventId": f"e{number}",
        "event": {"name": name, "at": f"2026-01-01T00:0{number}:00Z"},
        "actor": {"id": user},
        "from": address,
    }
    for number, name, user, address in [
        (1, "in", "u1", "203.0.113.1"),
        (2, "bad", "u2", "203.0.113.2"),
        (3, "in", "u1", "203.0.113.1"),
    ]
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples.ndjson").write_text("\n".join(json.dumps(sample) for sample in SAMPLES))
    return tmp_path


def run(*arguments: str, code: int = 0, text: str | None = None) -> str:
    result = CliRunner().invoke(app, list(arguments), input=text)
    assert result.exit_code == code, result.output
    return result.output


def decide(file: Path, **types: str) -> None:
    mapping = yaml.safe_load(file.read_text())
    for native, type in types.items():
        mapping["types"][native]["type"] = type
    save(file, yaml.safe_dump(mapping, sort_keys=False))


def save(file: Path, text: str) -> None:
    """All at once: for who watches it, a half written file is one more change."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_a_table_is_tried_on_samples_while_it_is_written(folder: Path) -> None:
    run("new", "acme", "--from", "samples.ndjson")
    file = folder / "mappings/acme/mapping.yaml"
    decide(file, **{"in": "LOGIN", "bad": "LOGOUT"})
    arguments = ["mapping", "try", str(file), "--samples", "samples.ndjson", "--watch"]
    process = subprocess.Popen(
        [sys.executable, "-m", "adapter", *arguments], cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    output = process.stdout

    def told() -> str:
        return "".join(_until(output, "--- "))

    try:
        first = told()
        assert "event 1: in -> access.LOGIN success u1" in first
        assert "event 2: bad -> access.LOGOUT success u2" in first
        decide(file, bad="LOGIN_ERROR")
        changed = told()
        assert "event 1" not in changed
        assert "type: 'access.LOGOUT' becomes 'access.LOGIN_ERROR'" in changed
        save(file, file.read_text().replace("LOGIN_ERROR", "LOGIN_EROR"))
        assert "LOGIN_EROR" in told()
        right = file.read_text()
        save(file, "provider: [")
        assert "mapping.yaml" in told()
        save(file, right.replace("LOGIN_EROR", "LOGIN_ERROR"))
        assert "type: 'access.LOGIN_EROR' becomes 'access.LOGIN_ERROR'" in told()
        (folder / "samples.ndjson").write_text(json.dumps({"eventId": "e9", "event": {"name": "in"}}))
        assert "3 events become 1" in told()
    finally:
        process.kill()
        process.wait()
        output.close()


def _until(output: IO[str], beginning: str) -> Iterator[str]:
    for line in iter(output.readline, ""):
        yield line
        if line.startswith(beginning):
            return


def test_a_draft_finds_what_stands_where_and_is_rejected_until_a_person_decides(folder: Path) -> None:
    run("new", "acme", "--from", "samples.ndjson")
    file = folder / "mappings/acme/mapping.yaml"
    mapping = yaml.safe_load(file.read_text())
    assert mapping["type"] == "event.name"
    assert mapping["identity"] == {"strong": "eventId"}
    assert mapping["fields"]["time"] == {"path": "event.at", "as": "rfc3339"}
    assert mapping["fields"]["authDetails.userId"] == "actor.id"
    assert mapping["fields"]["authDetails.ipAddress"] == {"path": "from", "as": "ip"}
    output = run("check", str(file), code=1)
    assert "types.in: is not decided" in output
    assert f"{file}:" in output or "mapping.yaml:" in output

    decide(file, **{"in": "LOGIN", "bad": "LOGIN_ERROR"})
    shown = run("accept", str(file), code=1, text="n\n")
    assert "access.LOGIN_ERROR" in shown
    assert "expect: []" in (file.parent / "examples/samples.yaml").read_text()
    run("accept", str(file), text="y\n")
    assert "ok" in run("check", str(file), "--strict")
    assert "nothing to accept" in run("accept", str(file))


def test_a_draft_takes_what_most_samples_have_and_sees_addresses_with_ports_and_lists(folder: Path) -> None:
    samples = [
        {"ts": 1767312000, "code": "A", "subject": {"uid": "k"}, "src": "10.1.2.3:51812"},
        {"ts": 1767312010, "code": "A", "subject": {"uid": "k"}, "src": "[2001:db8::7]:80"},
        {"ts": 1767312020, "code": "B", "subject": {"uid": "r"}, "src": "10.1.2.3", "at": {"uid": "k", "roles": ["a"]}},
    ]
    (folder / "samples.ndjson").write_text("\n".join(json.dumps(sample) for sample in samples))
    shown = run("new", "acme", "--from", "samples.ndjson")
    assert 'path = ["mappings"] under [mappings]' in shown
    mapping = yaml.safe_load((folder / "mappings/acme/mapping.yaml").read_text())
    assert mapping["fields"] == {
        "time": {"path": "ts", "as": "epoch"},
        "authDetails.userId": "subject.uid",
        "authDetails.ipAddress": {"path": "src", "as": "ip"},
        "details.at_uid": "at.uid",
        "details.at_roles": {"path": "at.roles", "as": "json"},
    }
    assert "mappings/acme/mapping.yaml is not below a folder" in run("check", "acme", code=1)
    assert "2 rows without a type of the catalogue yet" in run("apply", "mappings/acme/mapping.yaml", "samples.ndjson")


def test_a_type_is_found_by_what_its_values_do_where_its_name_says_nothing(folder: Path) -> None:
    samples = [
        {"n": number, "ev": "in" if number % 2 else "bad", "ok": True, "email": "a@x.y", "msg": f"number {number}"}
        for number in range(5)
    ]
    (folder / "samples.ndjson").write_text("\n".join(json.dumps(sample) for sample in samples))
    run("new", "acme", "--from", "samples.ndjson")
    mapping = yaml.safe_load((folder / "mappings/acme/mapping.yaml").read_text())
    assert (mapping["type"], [*mapping["types"]]) == ("ev", ["bad", "in"])


def test_samples_that_are_no_json_are_refused_with_their_line(folder: Path) -> None:
    (folder / "bad.ndjson").write_text('{"a": 1}\n\n{"a":\n')
    assert "bad.ndjson:3: neither JSON" in run("new", "acme", "--from", "bad.ndjson", code=1)


def test_accept_shows_what_an_open_expectation_becomes(folder: Path) -> None:
    run("new", "acme", "--from", "samples.ndjson")
    file = folder / "mappings/acme/mapping.yaml"
    decide(file, **{"in": "LOGIN", "bad": "LOGIN_ERROR"})
    assert "expects nothing yet" in run("check", str(file), code=1)
    shown = run("accept", str(file), "--yes")
    assert "  type: 'access.LOGIN'\n" in shown
    decide(file, **{"in": "LOGOUT"})
    assert "  type: 'access.LOGIN' becomes 'access.LOGOUT'\n" in run("accept", str(file), "--yes")


def test_a_draft_redacts_what_is_called_secret_and_holds_none_of_it(folder: Path) -> None:
    samples = [
        {
            "kind": "in",
            "at": f"2026-05-01T08:00:0{number}Z",
            "apiKey": f"hidden-{number}-key",
            "sent": {"password": f"hidden-{number}", "tokenType": "bearer", "token": True, "deep": [{"userPIN": 4711}]},
            "note": json.dumps({"clientSecret": "hidden-text", "app": "web"}),
        }
        for number in range(3)
    ]
    (folder / "samples.ndjson").write_text("\n".join(json.dumps(sample) for sample in samples))
    said = run("new", "acme", "--from", "samples.ndjson")
    assert "the examples are without it: apiKey, password, userPIN in sent, clientSecret in note" in said
    file = folder / "mappings/acme/mapping.yaml"
    mapping = yaml.safe_load(file.read_text())
    assert mapping["redact"] == [
        {"in": "apiKey"},
        {"in": "sent", "keys": ["password", "userPIN"]},
        {"in": "note", "keys": ["clientSecret"]},
    ]
    assert mapping["identity"] == {"weak": ["@native", "at"]}
    assert mapping["fields"]["details.sent_tokenType"] == "sent.tokenType"
    assert not [name for name in mapping["fields"] if "password" in name or "apiKey" in name]
    for example in yaml.safe_load((file.parent / "examples/samples.yaml").read_text()):
        assert example["raw"]["apiKey"] == example["raw"]["sent"]["password"] == "[redacted]"
    for written in (said, file.read_text(), (file.parent / "examples/samples.yaml").read_text()):
        assert "hidden" not in written
        assert "4711" not in written

    # What is stored of an event is what stands in the example.
    decide(file, **{"in": "LOGIN"})
    run("accept", str(file), "--yes")
    assert run("check", str(file)).endswith(": ok\n")


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True), ("newPassword2", True), ("passwd", True), ("db_pwd", True), ("client-secret", True),
        ("idToken", True), ("access_token", True), ("otp", True), ("otpCode", True), ("PIN", True), ("APIKey", True),
        ("x-api-key", True), ("Authorization", True), ("Set-Cookie", True), ("privateKey", True), ("credentials", True),
        ("tokenType", False), ("token_id", False), ("passwordChangedAt", False), ("credential_type", False),
        ("shipping", False), ("opinion", False), ("key", False), ("user", False), ("", False), ("42", False),
    ],
)  # fmt: skip
def test_a_name_tells_whether_it_is_a_secrets(name: str, secret: bool) -> None:
    assert speaks_of_secret(name) == secret


def test_a_draft_opens_envelopes(folder: Path) -> None:
    envelopes = [{"v": 3, "sent": {"batch": SAMPLES[:2]}}, {"v": 3, "sent": {"batch": SAMPLES[2:]}}]
    (folder / "samples.json").write_text(json.dumps(envelopes))
    said = run("new", "acme", "--from", "samples.json")
    assert "sent.batch holds the events, 3 of them" in said
    file = folder / "mappings/acme/mapping.yaml"
    mapping = yaml.safe_load(file.read_text())
    assert mapping["body"] == [{"when": {"has": ["sent.batch"]}, "events": "sent.batch"}]
    assert (mapping["type"], mapping["identity"]) == ("event.name", {"strong": "eventId"})
    decide(file, **{"in": "LOGIN", "bad": "LOGIN_ERROR"})
    assert run("apply", str(file), "samples.json").count('"access.LOGIN') == 3


def test_a_draft_leaves_a_list_in_a_record_alone_and_says_what_it_may_be(folder: Path) -> None:
    """What happened to each of several people at one moment has no moment of its own: the record is the event."""
    records = [
        {"id": f"b-{number}", "at": f"2026-05-04T08:00:0{number}Z", "kind": "bulk", "results": [{"kind": "a", "no": 1}]}
        for number in range(3)
    ]
    (folder / "samples.json").write_text(json.dumps(records))
    said = run("new", "acme", "--from", "samples.json")
    assert "results is a list of objects: if each of them is an event of its own, name it under `each`" in said
    text = (folder / "mappings/acme/mapping.yaml").read_text()
    assert "# - results is a list of objects" in text
    assert not {"body", "each"} & {*yaml.safe_load(text)}


@pytest.mark.parametrize(
    ("sample", "identity"),
    [
        ({"rec": {"no": 9000}}, {"strong": "rec.no"}),
        ({"seq": 9000}, {"strong": "seq"}),
        ({"recordId": 9000}, {"strong": "recordId"}),
        # Whoever acts a second time has the same again.
        ({"person": {"no": 9000}}, {"weak": ["@native", "at", "person.no"]}),
        ({"user": {"id": 9000}}, {"weak": ["@native", "at", "user.id"]}),
        ({"employeeId": 9000}, {"weak": ["@native", "at"]}),
        ({"phoneNumber": 9000}, {"weak": ["@native", "at"]}),
    ],
)
def test_an_id_or_a_number_of_the_event_is_its_identity(
    folder: Path, sample: dict[str, object], identity: dict[str, object]
) -> None:
    samples = [
        json.dumps({"kind": "in", "at": f"2026-05-04T08:00:0{number}Z", **sample}).replace("9000", f"900{number}")
        for number in range(3)
    ]
    (folder / "samples.ndjson").write_text("\n".join(samples))
    run("new", "acme", "--from", "samples.ndjson")
    mapping = yaml.safe_load((folder / "mappings/acme/mapping.yaml").read_text())
    assert mapping["identity"] == identity


def test_all_samples_of_a_draft_are_examples_failures_first(folder: Path) -> None:
    samples = [{"kind": "in", "at": 1767312000 + number} for number in range(3)]
    samples += [
        {**samples[0], "why": 7},
        {**samples[1], "kind": "out"},
        samples[0],
        {"kind": "out failed", "at": 1767312009},
    ]
    (folder / "samples.json").write_text(json.dumps(samples))
    run("new", "acme", "--from", "samples.json")
    examples = yaml.safe_load((folder / "mappings/acme/examples/samples.yaml").read_text())
    assert [(one["name"], one["raw"]) for one in examples] == [
        ("in", samples[3]), ("out failed", samples[6]),
        ("in 2", samples[0]), ("in 3", samples[1]), ("in 4", samples[2]), ("out", samples[4]),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../x", "bad name", "UPPER", "ü", "", "-x", "acme/x"])
def test_a_draft_of_a_name_that_no_provider_can_have_is_refused(folder: Path, name: str) -> None:
    assert f"{name!r} is no name for a provider" in run("new", "--from", "samples.ndjson", "--", name, code=1)
    assert [one.name for one in folder.iterdir()] == ["samples.ndjson"]


def test_a_draft_does_not_hide_a_table_that_comes_with_the_adapter(folder: Path) -> None:
    assert "`extends: keycloak`" in run("new", "keycloak", "--from", "samples.ndjson", code=1)
    assert not (folder / "mappings").exists()


def test_a_draft_takes_who_did_it_and_names_what_else_may_be_right(folder: Path) -> None:
    samples = [
        {"id": f"e{number}", "kind": "in", "at": "2026-01-01T00:00:00Z", "sent": "2026-01-01T00:00:01Z",
         "target": {"userId": f"u{number}"}, "actor": {"id": "a1"}}
        for number in range(3)
    ]  # fmt: skip
    (folder / "samples.ndjson").write_text("\n".join(json.dumps(sample) for sample in samples))
    output = run("new", "acme", "--from", "samples.ndjson")
    text = (folder / "mappings/acme/mapping.yaml").read_text()
    assert yaml.safe_load(text)["fields"]["authDetails.userId"] == "actor.id"
    assert "authDetails.userId is actor.id; it may also be target.userId" in output
    assert "# - authDetails.userId is actor.id; it may also be target.userId" in text
    assert text.startswith("# yaml-language-server: $schema=")


def test_a_draft_goes_where_the_settings_look_for_tables(folder: Path) -> None:
    (folder / "own").mkdir()
    (folder / "adapter.toml").write_text('[mappings]\npath = ["own"]\n')
    assert "under [mappings]" not in run("new", "acme", "--from", "samples.ndjson")
    assert (folder / "own/acme/mapping.yaml").is_file()
    run("new", "acme", "--from", "samples.ndjson", "--to", "elsewhere")
    assert (folder / "elsewhere/acme/mapping.yaml").is_file()


def test_a_draft_never_overwrites(folder: Path) -> None:
    run("new", "acme", "--from", "samples.ndjson")
    assert "is there already" in run("new", "acme", "--from", "samples.ndjson", code=1)


def test_accept_leaves_comments_and_other_examples_alone(folder: Path) -> None:
    run("new", "acme", "--from", "samples.ndjson")
    file = folder / "mappings/acme/mapping.yaml"
    decide(file, **{"in": "LOGIN", "bad": "LOGIN_ERROR"})
    run("accept", str(file), "--yes")
    examples = file.parent / "examples/samples.yaml"
    text = examples.read_text()
    first = text.index("- name: bad")
    examples.write_text(
        "# kept\n" + text[:first].replace("access.LOGIN", "access.LOGOUT") + "# kept too\n" + text[first:]
    )
    run("accept", str(file), "--yes")
    again = examples.read_text()
    assert again == "# kept\n" + text[:first] + "# kept too\n" + text[first:]


def test_check_says_which_field_of_which_example_differs(folder: Path) -> None:
    run("new", "acme", "--from", "samples.ndjson")
    file = folder / "mappings/acme/mapping.yaml"
    decide(file, **{"in": "LOGIN", "bad": "LOGIN_ERROR"})
    run("accept", str(file), "--yes")
    decide(file, **{"in": "LOGOUT", "bad": "LOGIN_ERROR"})
    output = run("check", str(file), code=1)
    assert "samples.yaml:17:3: error: example 'in': type: expected 'access.LOGIN', is 'access.LOGOUT'" in output


def test_a_row_without_an_example_is_a_warning_for_users_and_an_error_when_strict(folder: Path) -> None:
    run("new", "acme", "--from", "samples.ndjson")
    file = folder / "mappings/acme/mapping.yaml"
    decide(file, **{"in": "LOGIN", "bad": "LOGIN_ERROR"})
    run("accept", str(file), "--yes")
    file.write_text(file.read_text().replace("types:", "types:\n  out: {type: LOGOUT}"))
    assert "warning: types.out: no example reaches this row" in run("check", str(file))
    assert "error: types.out: no example reaches this row" in run("check", str(file), "--strict", code=1)


def accepted(folder: Path) -> Path:
    """A decided table with examples."""
    run("new", "acme", "--from", "samples.ndjson")
    (folder / "adapter.toml").write_text('[mappings]\npath = ["mappings"]\n')
    file = folder / "mappings/acme/mapping.yaml"
    decide(file, **{"in": "LOGIN", "bad": "LOGIN_ERROR"})
    run("accept", str(file), "--yes")
    return file


def test_examples_that_are_not_read_are_named(folder: Path) -> None:
    file = accepted(folder)
    assert "0 warnings: ok" in run("check", "acme")
    samples = file.parent / "examples/samples.yaml"
    (samples.parent / "other.yml").write_text(samples.read_text())
    (file.parent / "example").mkdir()
    (samples.parent / "README.md").write_text("of no account")
    said = run("check", "acme")
    assert "examples/other.yml: warning: is not read; examples stand in examples/*.yaml" in said
    assert "acme/example: warning: is not read" in said
    assert "2 warnings: ok" in said


def test_examples_of_one_name_are_warned_about(folder: Path) -> None:
    file = accepted(folder)
    samples = file.parent / "examples/samples.yaml"
    (samples.parent / "again.yaml").write_text(samples.read_text().partition("- name: in")[0])
    said = run("check", "acme")
    assert "samples.yaml:1:3: warning: example 'bad': has the name of the one at " in said
    assert "mappings/acme/examples/again.yaml:1 [duplicate-name]\n" in said


def test_a_table_of_a_wrong_name_is_named(folder: Path) -> None:
    file = accepted(folder)
    file.rename(file.with_suffix(".yml"))
    for arguments in (["acme"], []):
        assert "mappings/acme/mapping.yml: is not read; rename it to mapping.yaml" in run("check", *arguments, code=1)
    file.with_suffix(".yml").unlink()
    file.mkdir()
    for arguments in (["acme"], []):
        assert "mapping.yaml: is a folder; the table is a file of this name" in run("check", *arguments, code=1)


def test_rows_that_can_never_be_reached_are_errors(folder: Path) -> None:
    run("new", "acme", "--from", "samples.ndjson")
    file = folder / "mappings/acme/mapping.yaml"
    decide(file, **{"in": "LOGIN", "bad": "LOGIN_ERROR"})
    file.write_text(file.read_text().replace("types:", "types:\n  x: [{type: LOGOUT}, {when: {a: b}, type: LOGIN}]"))
    assert "types.x.1: can never be reached" in run("check", str(file), code=1)


WEAK = """
provider: acme
title: Acme
type: kind
identity: {weak: ["@native", at, user, ip]}
fields:
  time: [{path: at, as: rfc3339}, at]
  authDetails.userId: user
  authDetails.ipAddress: ip
types: {in: {type: LOGIN}}
"""
MERGE = "identity.weak: the times of all examples are whole seconds"


@pytest.mark.parametrize(
    ("table", "times", "warned"),
    [
        (WEAK, ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"], True),
        (WEAK, [1_767_225_601, 1_767_225_602_000], True),
        (WEAK, ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02.5Z"], False),
        (WEAK.replace("ip]", "ip, session]"), ["2026-01-01T00:00:01Z"], False),
        (WEAK.replace("ip]", "ip, none]"), ["2026-01-01T00:00:01Z"], True),
        (WEAK.replace("{weak:", "{strong: session, weak:"), ["2026-01-01T00:00:01Z"], False),
        (WEAK, [], False),
        (WEAK, ["no time", "2026-01-01T00:00:01.5Z"], False),
    ],
)
def test_an_identity_that_would_merge_events_of_one_second_is_warned_about(
    folder: Path, table: str, times: list[object], warned: bool
) -> None:
    file = folder / "mappings/acme/mapping.yaml"
    (file.parent / "examples").mkdir(parents=True)
    file.write_text(table)
    raws = [{"kind": "in", "at": at, "user": "u", "ip": "203.0.113.1", "session": "s", "none": ""} for at in times]
    (file.parent / "examples/all.yaml").write_text(
        yaml.safe_dump([{"name": f"{number}", "raw": raw, "expect": []} for number, raw in enumerate(raws)])
    )
    if raws:
        run("accept", str(file), "--yes")
    output = run("check", str(file))
    assert (f"mapping.yaml:5:12: warning: {MERGE}" in output) == warned, output


def test_a_native_type_that_several_shapes_share_is_counted_once(folder: Path) -> None:
    assert "74 native types, 0 warnings: ok" in run("check", "keycloak")


def test_diff_takes_a_key_that_joins_others_for_no_change(folder: Path) -> None:
    for name, table in (("old", WEAK), ("new", WEAK.replace("{weak:", "{strong: id, weak:"))):
        (folder / f"{name}.yaml").write_text(table)
    (folder / "examples").mkdir()
    raw = {"id": "1", "kind": "in", "at": "2026-01-01T00:00:01Z", "user": "u"}
    (folder / "examples/all.yaml").write_text(yaml.safe_dump([{"name": "one", "raw": raw, "expect": []}]))
    assert "0 of them their keys" in run("diff", "old.yaml", "new.yaml")
    assert "1 of them their keys" in run("diff", "new.yaml", "old.yaml", code=1)


def test_diff_refuses_the_table_of_another_provider(folder: Path) -> None:
    (folder / "other.yaml").write_text(WEAK)
    assert "other.yaml: is a table of 'acme'; it cannot take the place of that of 'keycloak'" in run(
        "diff", "keycloak", "other.yaml", code=1
    )


def test_diff_shows_changed_examples_and_refuses_a_changed_identity(folder: Path) -> None:
    run("new", "acme", "--from", "samples.ndjson")
    file = folder / "mappings/acme/mapping.yaml"
    decide(file, **{"in": "LOGIN", "bad": "LOGIN_ERROR"})
    run("accept", str(file), "--yes")
    changed = folder / "changed.yaml"
    changed.write_text(file.read_text().replace("type: LOGIN_ERROR", "type: LOGIN_ERROR\n    reason: bad_credentials"))
    output = run("diff", str(file), str(changed))
    assert "  reason: 'unspecified' becomes 'bad_credentials'\n" in output
    changed.write_text(file.read_text().replace("strong: eventId", "strong: actor.id"))
    assert "the identity of events would change" in run("diff", str(file), str(changed), code=1)
    run("diff", str(file), str(changed), "--force")


def test_explain_names_the_path_of_a_field_and_the_condition_that_failed(folder: Path) -> None:
    raw = {
        "event_type_id": "308",
        "timestamp": "2026-01-01T00:00:00Z",
        "user": {"id": "u1"},
        "identity_status_transition": {"new_state": "BLOCKED"},
    }
    (folder / "raw.json").write_text(json.dumps(raw))
    output = run("explain", "onewelcome", "raw.json")
    assert "row types.308.0: not taken: identity_status_transition.new_state is 'BLOCKED', wanted 'ACTIVE'" in output
    assert "row types.308.1: taken" in output
    assert "authDetails.userId  u1  <- user.id" in output
    assert "known by: 308/2026-01-01T00:00:00Z/u1/-/-" in output
    raw.pop("identity_status_transition")
    (folder / "raw.json").write_text(json.dumps(raw))
    assert "new_state is absent, wanted 'ACTIVE'" in run("explain", "onewelcome", "raw.json")
    (folder / "raw.json").write_text(json.dumps({**raw, "identity_status_transition": {"new_state": "BLOCKED"}}))
    assert json.loads(run("explain", "onewelcome", "raw.json", "--json"))["native_type"] == "308"


UNREAD = """
- name: one
  raw: {kind: in, id: e1, at: 1767225600, user: Ann, ip: null, device: {os: iOS, name: ann},
    roles: [admin, ann], ok: true}
- name: two
  raw: {kind: in, id: e2, at: 1767225601, user: bob, device: {os: iOS}, 'a.b': x1, link: https://app.example/e2}
- {name: three, raw: {kind: cart, note: not an event}}
"""


def test_coverage_lists_what_examples_say_and_no_event_does(folder: Path) -> None:
    file = folder / "mappings/acme/mapping.yaml"
    (file.parent / "examples").mkdir(parents=True)
    file.write_text(WEAK.replace("at, as: rfc3339", "at, as: seconds"))
    (file.parent / "examples/all.yaml").write_text(UNREAD)
    unread = [line.split()[1:] for line in run("coverage", str(file), "--unread").splitlines() if "unread" in line]
    assert unread == [["device.os", "2"], ["id", "2"], ["a\\.b", "1"], ["link", "1"], ["roles[]", "1"]]
    assert "unread" not in run("coverage", str(file))


def test_coverage_counts_the_vendors_types(folder: Path) -> None:
    assert "110 of 110 types of the vendor's list have a row" in run("coverage", "onewelcome")


def test_coverage_says_which_types_fall_to_a_family(folder: Path) -> None:
    told = run("coverage", "okta")
    rows, fallen = map(int, re.findall(r"okta: (\d+) of 1178 types .* have a row, (\d+) fall to a family", told)[0])
    assert rows + fallen == 1178
    assert "  family system.idp.key.*: 3 types\n" in told


def test_apply_reads_standard_input_and_tells_every_record(folder: Path) -> None:
    text = '{"event_type_id": 101, "timestamp": "2026-01-01T00:00:00Z"}\n{"event_type_id": 9}\nbroken\n'
    lines = [json.loads(line) for line in run("apply", "onewelcome", "-", text=text).splitlines()]
    assert lines[0]["type"] == "access.LOGIN"
    assert lines[0]["source"]["name"] == "onewelcome"
    assert lines[1] == {"quarantined": {"nativeType": "9", "problem": "no row for '9': add one to the table"}}
    assert lines[2]["quarantined"]["nativeType"] is None


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such file name")
def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    assert "nothing.json: No such file" in run("apply", "onewelcome", "nothing.json", code=1)
    assert "no table for 'nobody'; there are audit-service" in run("apply", "nobody", "samples.ndjson", code=1)


def test_a_table_of_ones_own_lies_beside_the_built_in_one_also_in_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mappings_path().parent)
    text = "provider: keycloak\ntitle: Ours\nextends: keycloak\n"
    texts = texts_of([mappings_path()], "keycloak", Unsaved(mapping=text))
    (file,) = texts
    table = load_table(file, load_catalogue([mappings_path()]), [mappings_path()], texts)
    assert table.mapping.title == "Ours"
    monkeypatch.chdir(tmp_path)
    assert place_of([mappings_path()], "keycloak") == Path("mappings/keycloak/mapping.yaml")
