from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus
from uuid import UUID

import jsonschema
import orjson
import pytest

from adapter.event import Event
from adapter.known_secrets import REDACTED
from adapter.mapping.body import JSON, Record
from adapter.mapping.catalogue import ACCESS, ERROR, load_catalogue
from adapter.mapping.compile import Result
from adapter.mapping.language import UNBOUND
from adapter.mapping.table import load_table
from adapter.resources import mappings_path, schemas_path
from adapter.workbench.check import check_table
from adapter.workbench.coverage import coverage, families_of, rows_of
from adapter.workbench.examples import RECEIVED_AT
from tests.mapping.built_in import PROVIDERS, Case, cases, catalogue, read, table, texts
from tests.mapping.pages import (
    ACCESS_TYPES,
    AUDIT_ROWS,
    KEYCLOAK_ERRORS,
    KEYCLOAK_OPERATIONS,
    KEYCLOAK_RESOURCES,
    KEYCLOAK_TYPES,
    MAGIC_LINK_ROWS,
    OKTA_RULE_TYPES,
    ONEWELCOME_FAILURES,
    ONEWELCOME_NUMBERS,
    ONEWELCOME_UNKNOWN,
)


def test_a_built_in_table_is_made_once_for_the_same_catalogue(tmp_path: Path) -> None:
    file = mappings_path() / "duo" / "mapping.yaml"
    made = load_table(file, load_catalogue([mappings_path()]))
    assert load_table(file, load_catalogue([mappings_path()])) is made
    (tmp_path / "types.yaml").write_text("groups: {more: More}\n")
    other = load_table(file, load_catalogue([tmp_path, mappings_path()]))
    assert other.version != made.version
    text = file.read_text().replace("title: ", "title: Our ", 1)
    tried = load_table(file, load_catalogue([mappings_path()]), (), {file: text})
    assert tried.mapping.title.startswith("Our ")
    assert load_table(file, load_catalogue([mappings_path()])) is made


EVENTS = [(case, event) for case in cases() for event in case.events]


@pytest.mark.parametrize("case", cases(), ids=str)
def test_every_example_is_reproduced(case: Case) -> None:
    assert case.found == case.placed.example.expect


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_check_finds_nothing_in_a_built_in_table(provider: str) -> None:
    found = [one.text for one in check_table(table(provider), strict=True)]
    # Frontegg signs nothing but a token that goes with any body.
    expected = [f"auth.2.jwt: {UNBOUND}"] if provider == "magic-link" else []
    assert [one.partition(";")[0] for one in found] == expected


# --- what holds for every expected event -----------------------------------------------------------------------


def test_the_outcome_agrees_with_the_type() -> None:
    def agrees(event: dict[str, Any]) -> bool:
        failed = event["outcome"] == "failure"
        if event["type"].startswith(ACCESS):
            return failed is event["type"].endswith(ERROR)
        return failed is ("error" in event) and not event["type"].endswith(ERROR)

    assert [str(case) for case, event in EVENTS if not agrees(event)] == []


def test_a_failure_has_an_error_and_a_reason_of_the_list_and_nothing_else_has() -> None:
    reasons = catalogue().reasons
    for case, event in EVENTS:
        failed = event["outcome"] == "failure"
        assert ("error" in event, event.get("reason") in reasons) == (failed, failed), str(case)


def test_an_error_code_of_keycloak_always_means_the_same_reason() -> None:
    odd = {
        str(case): event["reason"]
        for case, event in EVENTS
        if case.provider == "keycloak"
        and event["outcome"] == "failure"
        and event["reason"] != catalogue().reason_of(event["error"])
    }
    assert odd == {}


def test_every_type_is_in_the_catalogue_or_passed_through() -> None:
    unknown = {event["type"] for _, event in EVENTS if catalogue().known(event["type"]) is None}
    assert unknown == {
        "access.OID4VP_INIT_AUTH",
        "access.OID4VP_INIT_AUTH_ERROR",
        "access.UPDATE_BADGE",
        "access.UPDATE_BADGE_ERROR",
        "admin.ACTION",
        "admin.CREATE",
        "admin.DELETE",
        "foo.bar",
        "invoice.approve",
        "payment",
        "system.MAINTENANCE",
        "LOGIN",
    }


def test_no_value_is_empty_or_says_null() -> None:
    assert [str(case) for case, event in EVENTS if any(text in ("", "null", "None") for text in texts(event))] == []
    assert [str(case) for case, event in EVENTS if None in event.values()] == []


def test_times_are_milliseconds_of_our_years() -> None:
    assert [str(case) for case, event in EVENTS if not 1_577_836_800_000 <= event["time"] < 1_893_456_000_000] == []


def test_the_time_is_the_raw_events_own_wherever_it_has_one() -> None:
    taken_from_arrival = {str(case) for case, event in EVENTS if "time_problem" in event["details"]}
    webhooks = {str(case) for case in cases() if case.placed.file.stem.startswith("webhooks-")}
    assert taken_from_arrival == webhooks | {
        "keycloak/log-lines: S18 with escaped quotes, as text of JSON that was cut out",
        "keycloak/log-lines: S18 unquoted, with a blank in a value, no time before it",
        "keycloak/log-lines: S18 an escaped quote poses as a next key",
        "keycloak/log-lines: S18 an administrator, no time before it",
        "keycloak/other-listeners: S4 a form with single quotes",
        "keycloak/other-listeners: A listener like S5 that sends the id, too",
        "keycloak/other-listeners: S5 and S6, user, no time",
        "keycloak/other-listeners: S5, admin, no resource type",
        "keycloak/other-listeners: S5, admin, a role by its id, whose kind nothing says",
        "keycloak/other-listeners: S6 SHOGun, admin",
        "keycloak/other-listeners: S14 event webhook, admin",
        "onewelcome/oddities: a time that is none",
    }
    assert {event["time"] for case, event in EVENTS if str(case) in taken_from_arrival} == {RECEIVED_AT}


def test_every_value_in_auth_details_occurs_in_the_raw_event() -> None:
    for case, event in EVENTS:
        raw = case.placed.example.raw
        whole = unquote_plus(raw).replace('\\"', '"') if isinstance(raw, str) else "\n".join(texts(raw))
        if table(case.provider).mapping.base64:
            records = table(case.provider).split(case.placed.example.body, case.placed.example.media)
            whole += "\n".join(text for record in records for text in texts(record.value))
        missing = {name for name, value in event["authDetails"].items() if value not in whole}
        assert missing == set(), str(case)


def test_every_expected_event_fits_the_model() -> None:
    for _, event in EVENTS:
        source = {**event["source"], "receivedAt": 0, "mapping": "any@1"}
        Event.model_validate({**event, "uid": UUID(int=0), "source": source})


@pytest.mark.parametrize("provider", PROVIDERS)
def test_raw_events_of_examples_fit_the_schema_that_documents_them(provider: str) -> None:
    schema = orjson.loads((schemas_path() / "raw" / f"{provider}.schema.json").read_bytes())
    validator = jsonschema.Draft202012Validator(schema)
    for case in cases():
        example = case.placed.example
        if case.provider != provider or example.media != JSON or not case.events:
            continue
        firsts = [one for one in example.expect if "also" not in one.get("source", {})]
        for record, expected in zip(table(provider).split(example.body), firsts, strict=True):
            if "type" in expected:
                assert [one.message for one in validator.iter_errors(record.value)] == [], str(case)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_schema_of_raw_events_tells_them_from_something_else(provider: str) -> None:
    schema = orjson.loads((schemas_path() / "raw" / f"{provider}.schema.json").read_bytes())
    assert not jsonschema.Draft202012Validator(schema).is_valid({"hello": "world"})


# --- the vendors' lists ------------------------------------------------------------------------------------------


def test_the_tables_list_the_types_of_the_vendors_pages() -> None:
    for provider, types in (("onewelcome", ONEWELCOME_NUMBERS), ("keycloak", KEYCLOAK_TYPES)):
        listed = table(provider).mapping.catalogue
        assert listed is not None
        assert {str(one) for one in types} <= {str(one) for one in listed.types}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_type_of_the_vendor_has_an_example(provider: str) -> None:
    listed = table(provider).mapping.catalogue
    assert listed is not None
    expected = [one for case in cases() if case.provider == provider for one in case.placed.example.expect]
    shown = {(one.get("source") or one.get("ignored") or {}).get("nativeType") for one in expected}
    families = families_of(table(provider))
    # Of a family one type is enough.
    shown |= {families.of(str(native)) for native in shown - rows_of(table(provider))}
    missing = {str(one) for one in listed.types} - set(listed.unmapped) - shown
    assert {one for one in missing if one in rows_of(table(provider)) or families.of(one) not in shown} == set()


def test_the_documented_access_types_and_their_twins_are_known() -> None:
    for name in ACCESS_TYPES:
        assert catalogue().known(ACCESS + name) is not None
        assert catalogue().outcome(ACCESS + name) == "success"
        assert catalogue().outcome(ACCESS + name + ERROR) == "failure"


@pytest.mark.parametrize("name", KEYCLOAK_TYPES)
def test_keycloak_a_user_type_keeps_its_name_and_its_twin_fails(name: str) -> None:
    raw = {"id": "4dc9b7ca", "time": 1_768_381_200_000, "realmId": "acme"}
    done = read("keycloak", {**raw, "type": name})
    failed = read("keycloak", {**raw, "type": name + ERROR, "error": "invalid_request"})
    assert done["type"] == catalogue().canonical(ACCESS + name)
    assert done["outcome"] == ("unknown" if name == "INVALID_SIGNATURE" else "success")
    assert (failed["type"], failed["outcome"], failed["error"]) == (done["type"] + ERROR, "failure", "invalid_request")


@pytest.mark.parametrize("operation", KEYCLOAK_OPERATIONS)
@pytest.mark.parametrize("resource", KEYCLOAK_RESOURCES)
def test_keycloak_every_resource_with_every_operation_is_a_type(resource: str, operation: str) -> None:
    raw = {"time": 1_768_381_200_000, "realmId": "acme", "authDetails": {"userId": "root"}}
    event = read("keycloak", {**raw, "resourceType": resource, "operationType": operation, "resourcePath": "x/1"})
    assert event["type"] == f"admin.{resource}-{operation}"
    assert (event["resourceType"], event["operationType"]) == (resource, operation)
    assert (event["outcome"], catalogue().known(event["type"]) is not None) == ("success", True)


def test_keycloak_every_resource_that_a_path_tells_is_told() -> None:
    (case,) = [one for one in cases() if one.placed.file.stem == "resource-paths"]
    told = {event.get("resourceType") for event in case.events}
    # A realm's own events have no path, or one that says nothing; those of user federation are old components.
    of_old = {"USER_FEDERATION_PROVIDER", "USER_FEDERATION_MAPPER", "CUSTOM"}
    assert {*KEYCLOAK_RESOURCES} - told == of_old
    assert told - {*KEYCLOAK_RESOURCES} == {None, "CLIENT_TEMPLATE"}


def test_keycloak_what_an_event_says_of_its_resource_goes_before_its_path() -> None:
    raw = {"time": 1_768_381_200_000, "realmId": "acme", "authDetails": {"userId": "root"}, "operationType": "CREATE"}
    event = read("keycloak", {**raw, "resourceType": "CREDENTIAL", "resourcePath": "users/1/groups/2"})
    assert event["type"] == "admin.CREDENTIAL-CREATE"


@pytest.mark.parametrize("code", KEYCLOAK_ERRORS)
def test_keycloak_every_error_code_has_one_reason(code: str) -> None:
    lists = [name for name, reason in catalogue().reasons.items() if code in reason.codes]
    usual = [name for name, reason in catalogue().reasons.items() if reason.error == code]
    assert len(lists) == 1 or (not lists and len(usual) == 1)
    assert catalogue().reason_of(code) == (lists or usual)[0]


@pytest.mark.parametrize("number", ONEWELCOME_NUMBERS)
def test_onewelcome_a_number_has_the_outcome_that_its_text_states(number: str) -> None:
    raw = {"version": "V2", "timestamp": "2026-01-14T08:00:00.000001Z", "user": {"id": "anna"}}
    event = read("onewelcome", {**raw, "event_type_id": number})
    assert event == read("onewelcome", {**raw, "event_type_id": int(number)})
    expected = {"failure": ONEWELCOME_FAILURES, "unknown": ONEWELCOME_UNKNOWN}
    stated = next((outcome for outcome, numbers in expected.items() if number in numbers), "success")
    assert event["outcome"] == stated


@pytest.mark.parametrize("number", ["104", "110", "309", "459", "1003", "10000", "10001"])
def test_onewelcome_a_number_of_no_page_is_quarantined_and_says_which_row_to_add(number: str) -> None:
    event, *_, problem = table("onewelcome").read({"event_type_id": number, "timestamp": "2026-01-14T08:00:00Z"}, 0)
    assert event is None
    assert repr(number) in problem and "add" in problem


@pytest.mark.parametrize(("status", "native", "description", "type", "reason"), MAGIC_LINK_ROWS)
def test_frontegg_a_row_means_what_its_description_says(
    status: str, native: str, description: str, type: str, reason: str | None
) -> None:
    raw = {"eventType": native, "description": description, "status": status, "createdAt": "2026-01-14T08:00:00Z"}
    event = read("magic-link", raw)
    assert (event["type"], event.get("reason")) == (ACCESS + type, reason)
    assert event["outcome"] == ("failure" if reason else "success")


@pytest.mark.parametrize("status", ["success", "info", None])
def test_frontegg_only_the_status_error_makes_a_failure(status: str | None) -> None:
    raw = {"eventType": "login.completed", "severity": "Error", "createdAt": "2026-01-14T08:00:00Z"}
    assert read("magic-link", {**raw, "status": status})["type"] == "access.LOGIN"
    assert read("magic-link", {**raw, "status": "error"})["type"] == "access.LOGIN_ERROR"


@pytest.mark.parametrize(("native", "type", "outcome"), AUDIT_ROWS)
def test_audit_service_a_type_means_what_the_page_says(native: str, type: str, outcome: str) -> None:
    raw = {"initiatorsystemcode": "CRM_WEB", "requestorid": "u", "requestorip": "203.0.113.1"}
    event = read("audit-service", {**raw, "eventtype": native, "timestamp": "1768381200000"})
    assert (event["type"], event["outcome"]) == (ACCESS + type, outcome)


def test_audit_service_a_time_in_seconds_is_the_same_moment() -> None:
    raw = {"eventtype": "LOGIN_SUCCESSFUL"}
    seconds = read("audit-service", {**raw, "timestamp": "1768381200"})
    assert seconds["time"] == read("audit-service", {**raw, "timestamp": "1768381200000"})["time"] == 1_768_381_200_000


OKTA = {"uuid": "4dc9b7ca", "published": "2026-01-14T08:00:00.000Z"}
OKTA_OUTCOMES: dict[str, list[str | None]] = {
    "success": ["SUCCESS", "ALLOW"],
    "failure": ["FAILURE", "FAILED", "DENY", "RATE_LIMIT", "ABANDONED", "UNANSWERED"],
    "unknown": ["CHALLENGE", "SKIPPED", "UNKNOWN", "DEFERRED", "SCHEDULED", "LATER", None],
}


@pytest.mark.parametrize(
    ("result", "stated"), [(result, stated) for stated, results in OKTA_OUTCOMES.items() for result in results]
)
def test_okta_the_result_decides_the_outcome_in_whatever_case(result: str | None, stated: str) -> None:
    for written in {result} if result is None else {result, result.lower(), result.title()}:
        raw = {**OKTA, "outcome": {"result": written}}
        assert read("okta", {**raw, "eventType": "user.session.end"})["outcome"] == stated
        assert read("okta", {**raw, "eventType": "pam.project.update"})["outcome"] == stated
        # A lockout did what it should, whatever its record says.
        if stated == "failure":
            assert read("okta", {**raw, "eventType": "user.account.lock"})["outcome"] == "success"


def test_okta_every_type_of_the_vendor_is_read() -> None:
    found = coverage(table("okta"))
    assert (found.missing, found.unmapped, found.extra) == ([], {}, [])
    listed = table("okta").mapping.catalogue
    assert listed is not None and len(listed.types) == 1178
    quarantined = {
        native
        for native in listed.types
        for result in ("SUCCESS", "FAILURE")
        if table("okta").read({**OKTA, "eventType": native, "outcome": {"result": result}}, 0)[5] is not None
    }
    assert quarantined == set()


def test_okta_what_detection_rules_name_has_a_row_of_its_own() -> None:
    assert set(OKTA_RULE_TYPES) - rows_of(table("okta")) == set()


@pytest.mark.parametrize(
    "native", ["user.session.freeze", "security.session.freeze", "system.freeze", "iam.user.freeze"]
)
def test_okta_a_type_that_is_new_waits_for_a_person(native: str) -> None:
    event, *_, problem = table("okta").read({**OKTA, "eventType": native}, 0)
    assert event is None
    assert repr(native) in problem


@pytest.mark.parametrize("kind", ["SystemPrincipal", "PublicClientApp", "IP address", "AD Agent", "Device", "Client"])
@pytest.mark.parametrize(
    "native", ["user.session.start", "zone.delete", "user.account.lock", "system.api_token.create"]
)
def test_okta_only_a_user_is_one(kind: str, native: str) -> None:
    actor = {"id": "x1", "type": kind, "alternateId": "system@okta.com", "displayName": "Okta System"}
    who = read("okta", {**OKTA, "eventType": native, "actor": actor})["authDetails"]
    assert who == ({"clientId": "x1"} if kind == "PublicClientApp" else {})


def test_okta_another_person_is_an_administrator_only_where_only_those_may() -> None:
    actor = {"id": "00u1", "type": "User", "alternateId": "max@acme.example"}
    target = [{"id": "00u2", "type": "User", "alternateId": "tom@acme.example"}]
    raw = {**OKTA, "actor": actor, "target": target}
    done = read("okta", {**raw, "eventType": "user.lifecycle.suspend"})["details"]
    assert (done["userId"], done["by"]) == ("00u2", "admin")
    seen = read("okta", {**raw, "eventType": "user.authentication.sso"})["details"]
    assert (seen["userId"], "by" in seen) == ("00u2", False)


def test_okta_the_address_is_the_clients_or_else_the_first_of_those_it_came_through() -> None:
    raw = {
        **OKTA,
        "eventType": "user.session.start",
        "request": {"ipChain": [{"ip": "2001:db8::1"}, {"ip": "192.0.2.1"}]},
    }
    assert read("okta", raw)["authDetails"] == {"ipAddress": "2001:db8::1"}
    assert read("okta", {**raw, "client": {"ipAddress": "192.0.2.7"}})["authDetails"] == {"ipAddress": "192.0.2.7"}


def test_okta_a_word_that_stands_for_nothing_is_nobody() -> None:
    actor = {"id": "unknown", "type": "User", "alternateId": "nobody@acme.example", "displayName": "unknown"}
    raw = {"uuid": "4dc9b7ca", "published": "2026-01-14T08:00:00.000Z", "eventType": "user.session.start"}
    assert read("okta", {**raw, "actor": actor})["authDetails"] == {"username": "nobody@acme.example"}


def test_zitadel_who_locked_an_account_decides_whether_it_is_a_lockout() -> None:
    raw = {
        "aggregateType": "user",
        "aggregateID": "7",
        "event_type": "user.locked",
        "created_at": "2026-01-14T08:00:00Z",
    }
    assert read("zitadel", {**raw, "userID": "LOGIN"})["type"] == "access.USER_DISABLED_BY_PERMANENT_LOCKOUT"
    by_another = read("zitadel", {**raw, "userID": "8"})
    assert (by_another["type"], by_another["authDetails"]) == ("access.BLOCK_USER", {"userId": "8"})
    assert by_another["details"]["userId"] == "7"


def test_zitadel_one_event_has_one_key_however_it_comes() -> None:
    forms = [case for case in cases() if case.placed.file.stem == "other-forms"][:2]
    rows, answered = ([one.strong for one in map(_result, _records(case))] for case in forms)
    assert rows == answered and None not in rows
    raw = {"aggregateID": "336494809936035843", "aggregateType": "user", "instanceID": "1", "sequence": 1}
    posted = {**raw, "event_type": "user.human.added", "created_at": "2026-01-14T10:16:00.264665Z"}
    assert [_result(one).strong for one in table("zitadel").split(orjson.dumps(posted))] == rows[:1]


def _records(case: Case) -> list[Record]:
    return table(case.provider).split(case.placed.example.body)


def _result(record: Record) -> Result:
    return table("zitadel").result(record, 0)


def test_auth0_an_entry_is_known_by_its_id_however_it_comes() -> None:
    entry = {"date": "2026-01-14T09:00:07.350Z", "type": "s", "user_id": "auth0|1", "log_id": "900"}
    page = {**{key: value for key, value in entry.items() if key != "log_id"}, "_id": "900"}
    stream = {"log_id": "900", "data": entry}
    bodies = (entry, page, {**page, "log_id": "900"}, stream, [stream], {"source": "aws.partner", "detail": stream})
    known = []
    for body in bodies:
        (record,) = table("auth0").split(orjson.dumps(body))
        assert record.value is not None
        known.append(table("auth0").read(record.value, RECEIVED_AT)[:4])
    assert known == [known[0]] * len(bodies)


@pytest.mark.parametrize("method", ["patch", "PATCH"])
def test_auth0_what_an_administrator_changed_is_read_off_the_path(method: str) -> None:
    request = {"method": method, "path": "/api/v2/users/auth0|1/identities", "auth": {"user": {"user_id": "auth0|9"}}}
    entry = {"date": "2026-01-14T09:00:07.350Z", "type": "sapi", "log_id": "900", "details": {"request": request}}
    event = read("auth0", entry)
    assert (event["type"], event["resourcePath"]) == ("admin.USER-UPDATE", "users/auth0|1/identities")
    assert (event["authDetails"], event["details"]["userId"]) == ({"userId": "auth0|9"}, "auth0|1")


# --- secrets -----------------------------------------------------------------------------------------------------


def test_keycloak_no_secret_is_kept() -> None:
    # fmt: off
    secrets = (
        "hunter2", "hunter3", "hunter4", "dOnTlEaKmE", "oLdSeCrEt", "GOCSPX-1", "bm9wZQ", "ZXlKaGJHY2k", "rEgEnErAtEd",
        "sMtPsEcReT", "rEcApTcHa", "eNtErPrIsE", "aCtIoNtOkEn",
    )
    # fmt: on
    given = kept = ""
    for case in cases():
        if case.provider != "keycloak":
            continue
        example = case.placed.example
        given += example.body.decode()
        kept += orjson.dumps(case.found).decode()
        kept += "".join(one.raw.decode() for one in table("keycloak").split(example.body, example.media))
    assert [one for one in secrets if one not in given] == []
    assert [one for one in secrets if one in kept] == []


def test_zitadel_no_secret_is_kept_nor_what_holds_one_in_base64() -> None:
    secrets = ("hidden-hash", "c2VlZA==", "dGhlLWNvZGU=", "eyJ1c2VyTmFtZSI6")
    given = kept = ""
    for case in cases():
        if case.provider == "zitadel":
            given += case.placed.example.body.decode()
            kept += orjson.dumps(case.found).decode()
            kept += "".join(one.raw.decode() for one in table("zitadel").split(case.placed.example.body))
    assert [one for one in secrets if one not in given] == []
    assert [one for one in secrets if one in kept] == []


@pytest.mark.parametrize("provider", ["keycloak", "magic-link", "zitadel", "duo", "fusionauth"])
def test_every_secret_of_an_example_is_redacted(provider: str) -> None:
    for case in cases():
        if case.provider == provider and case.placed.file.stem.endswith("secrets"):
            (record,) = table(provider).split(case.placed.example.body)
            assert case.placed.example.body.count(b"hidden-") == record.raw.count(b"[redacted]") > 0
            assert b"hidden-" not in record.raw


def test_auth0_no_secret_is_kept() -> None:
    given = kept = ""
    for case in cases():
        if case.provider == "auth0":
            given += case.placed.example.body.decode()
            kept += orjson.dumps(case.found).decode()
            kept += "".join(one.raw.decode() for one in table("auth0").split(case.placed.example.body))
    assert given.count("hidden-") > 60
    assert "hidden" not in kept


def test_okta_no_secret_is_kept() -> None:
    given = kept = ""
    for case in cases():
        if case.provider == "okta":
            given += case.placed.example.body.decode()
            kept += orjson.dumps(case.found).decode()
            kept += "".join(one.raw.decode() for one in table("okta").split(case.placed.example.body))
    assert (given.count("hunter2-"), given.count("s3cret-")) == (12, 12)
    assert (kept.count("hunter2-"), kept.count("s3cret-")) == (0, 0)
    assert REDACTED in kept
