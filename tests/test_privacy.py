"""What a receiver is not to know of people is nowhere in what it gets."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapter.event import AuthDetails, Event, LookedUp
from adapter.formats.settings import format_names, make_format, read_format_settings
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.table import load_table
from adapter.outgoing.settings import OutgoingSettings
from adapter.privacy import FIELDS, INSIDE, WORD, Privacy, PrivacySettings, mask
from adapter.resources import mappings_path
from adapter.sinks.private import PrivateSink
from adapter.sinks.settings import open_sink, read_sink_settings
from tests.formats.conformance import EVENTS, make_entry, make_event

KEY = "0123456789abcdef0123456789abcdef"
USER = "ebf9535d-d341-4078-b4d5-91352282e868"


def private(event: dict[str, Any], *, sink: str = "soc", **told: Any) -> dict[str, Any]:
    if "hash" in told:
        told.setdefault("key", KEY)
    written = Privacy(PrivacySettings.model_validate(told), sink).apply(orjson.dumps(event))
    read: dict[str, Any] = orjson.loads(written)
    return read


def login(**more: Any) -> dict[str, Any]:
    return {
        **make_event("x"),
        "type": "access.LOGIN_ERROR",
        "error": "invalid_user_credentials",
        "authDetails": {"userId": USER, "username": "zoe", "ipAddress": "10.1.2.3"},
        "details": {"email": "zoe@example.org"},
        "resourcePath": f"users/{USER}/groups/7",
        "representation": json.dumps({"id": USER, "email": "Zoe@Example.org", "enabled": True}),
        **more,
    }


# What is done to a field


def test_a_dropped_field_is_left_out() -> None:
    event = private(login(), drop=["authDetails.ipAddress", "details", "representation"])
    assert event["authDetails"] == {"userId": USER, "username": "zoe"}
    assert "details" not in event
    assert "representation" not in event


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("zoe@example.org", "z***@example.org"),
        ("10.1.2.3", "10.1.*.*"),
        ("2001:db8:7::1", "2001:db8:7:*"),
        ("zoe", "z***"),
        ("zo", "***"),
        (USER, "ebf9***"),
        ("日本語の名前", "日***"),
        ('"; drop', "***"),
        ("@example.org", "***"),
        ("a@b@example.org", "a***@example.org"),
    ],
)
def test_a_masked_field_keeps_a_rest_that_people_recognize(value: str, kept: str) -> None:
    assert mask(value) == kept
    assert private(login(details={"what": value}), mask=["details.what"])["details"]["what"] == kept


def test_a_hashed_field_is_the_same_for_a_person_in_one_sink_and_another_in_another_or_with_another_key() -> None:
    def pseudonym(name: str, sink: str = "soc", key: str = KEY) -> str:
        event = login(authDetails={"username": name})
        hashed: str = private(event, sink=sink, hash=["authDetails.username"], key=key)["authDetails"]["username"]
        return hashed

    first = pseudonym("zoe")
    assert first.startswith("hash-")
    assert len(first) == len("hash-") + 32
    assert pseudonym("zoe") == pseudonym("ZOE") == first
    assert len({first, pseudonym("anna"), pseudonym("zoe", sink="siem"), pseudonym("zoe", key=KEY[::-1])}) == 4


def test_the_stronger_rule_counts() -> None:
    told: dict[str, Any] = {"mask": ["authDetails.*"], "hash": ["authDetails.user*"], "drop": ["authDetails.userId"]}
    who = private(login(), **told)["authDetails"]
    assert "userId" not in who
    assert who["username"].startswith("hash-")
    assert who["ipAddress"] == "10.1.*.*"


def test_a_star_stands_for_any_characters() -> None:
    event = private(login(details={"email": "a@b.example", "new_email": "c@d.example", "kept": "1"}), drop=["*email"])
    assert event["details"] == {"kept": "1"}


def test_members_of_a_representation_may_be_named_at_any_depth() -> None:
    text = json.dumps(
        {"email": "zoe@example.org", "attributes": {"phone": [491234567, "x"]}, "enabled": True, "n": 1.5}
    )
    event = private(login(representation=text), drop=["representation.email"], mask=["representation.phone"])
    assert json.loads(event["representation"]) == {
        "attributes": {"phone": ["4***", "***"]},
        "enabled": True,
        "n": 1.5,
    }


@pytest.mark.parametrize("text", ['{"email":"zoe@ex', "[" * 100_000, '{"a":1e999,"email":"zoe@example.org"}'])
def test_a_representation_whose_members_cannot_be_told_goes_as_a_whole(text: str) -> None:
    assert private(login(representation=text), drop=["representation.email"])["representation"] == "[redacted]"


def test_a_representation_that_is_a_bare_name_stays() -> None:
    assert private(login(representation="finance"), drop=["representation.email"])["representation"] == "finance"


def test_looked_up_names_go_with_what_they_are_the_names_of() -> None:
    names = {"actor": "Zoe Smith", "target": "Anna", "client": "shop", "realm": "acme"}
    event = private(login(lookedUp=names), hash=["authDetails.userId"], drop=["details.username"])
    assert event["lookedUp"] == {"actor": event["lookedUp"]["actor"], "client": "shop", "realm": "acme"}
    assert event["lookedUp"]["actor"].startswith("hash-")
    assert private(login(lookedUp=names), mask=["lookedUp.client"])["lookedUp"]["client"] == "s***"


def test_what_says_which_event_it_is_and_what_happened_stays() -> None:
    event = login(reason="unspecified", operationType="UPDATE", resourceType="USER")
    kept = ("uid", "time", "type", "outcome", "reason", "operationType", "resourceType", "source")
    told = private(event, hash=["*"])
    assert {name: told[name] for name in kept} == {name: event[name] for name in kept}


# Everywhere else


def test_a_value_goes_from_paths_representations_and_sentences() -> None:
    event = private(
        login(error=f"User {USER} not found, asked by ZOE!"), hash=["authDetails.userId"], drop=["authDetails.username"]
    )
    pseudonym = event["authDetails"]["userId"]
    assert event["resourcePath"] == f"users/{pseudonym}/groups/7"
    assert event["error"] == f"User {pseudonym} not found, asked by [redacted]!"
    assert json.loads(event["representation"])["id"] == pseudonym
    assert json.loads(event["representation"])["email"] == "[redacted]@Example.org"


NESTED = json.dumps({"inner": json.dumps({"name": "Zoë\n“Ö”"})})


@pytest.mark.parametrize(
    "text",
    [
        "Zoë\n“Ö”",
        json.dumps("Zoë\n“Ö”"),
        json.dumps("Zoë\n“Ö”", ensure_ascii=False),
        NESTED,
        json.dumps({"more": NESTED}),
        quote("Zoë\n“Ö”"),
        quote(quote("Zoë\n“Ö”")),
        "Zo&euml;&#10;&#x201C;&Ouml;&rdquo;",
        r"\u005a\u006F\u00eb\n\u201c\u00d6\u201d",
        "zOË\n“ö”",
    ],
)
def test_a_value_is_found_however_it_is_escaped(text: str) -> None:
    event = private(login(details={"name": "Zoë\n“Ö”", "other": f"before {text} after"}), hash=["details.name"])
    assert event["details"]["other"] == f"before {text} after".replace(text, event["details"]["other"][7:-6])
    assert event["details"]["name"] in event["details"]["other"]


def test_characters_beyond_the_first_plane_are_found_in_json() -> None:
    event = private(login(representation=json.dumps({"a": "b 😀😀😀 c"}), details={"x": "😀😀😀"}), drop=["details.x"])
    assert json.loads(event["representation"]) == {"a": "b [redacted] c"}


def test_a_short_value_goes_as_a_word_and_not_out_of_longer_ones() -> None:
    assert WORD <= len("zoe") < INSIDE
    event = private(login(details={"a": "zoe", "b": "zoe-x zoey zoe_2 'Zoe'"}), drop=["authDetails.username"])
    assert event["details"] == {"a": "[redacted]", "b": "[redacted]-x zoey zoe_2 '[redacted]'"}


def test_a_very_short_value_goes_from_its_own_field_alone() -> None:
    event = private(login(authDetails={"username": "7"}, details={"count": "7"}), hash=["authDetails.username"])
    assert event["authDetails"]["username"].startswith("hash-")
    assert event["details"] == {"count": "7"}


def test_who_logs_in_under_the_name_of_an_error_takes_none_from_the_event() -> None:
    event = login(authDetails={"username": "invalid_user_credentials"}, details={"auth_method": "password"})
    told = private(event, hash=["authDetails.username"])
    assert (told["error"], told["type"]) == ("invalid_user_credentials", "access.LOGIN_ERROR")
    told = private(login(authDetails={"username": "auth_method"}, details={"auth_method": "x"}), drop=["authDetails.*"])
    assert told["details"] == {"auth_method": "x"}


def test_a_detail_without_a_name_is_one_too() -> None:
    assert private(login(details={"": "zoe", "a": "b"}), drop=["authDetails.*"])["details"] == {
        "": "[redacted]",
        "a": "b",
    }
    assert private(login(details={}), drop=["details"])["details"] == {}


def test_a_value_goes_from_the_names_of_details() -> None:
    event = private(
        login(details={"zoe@example.org": "1"}, authDetails={"username": "zoe@example.org"}), drop=["authDetails.*"]
    )
    assert event["details"] == {"[redacted]": "1"}


def test_what_is_kept_of_one_value_is_not_another_one() -> None:
    event = private(
        login(realmName="example.org", details={"email": "zoe@example.org"}), drop=["realmName"], mask=["details.email"]
    )
    assert event["details"]["email"] == "***"


def test_json_stays_json_where_a_number_goes() -> None:
    text = '{"phone":49123456789,"a":"49123456789"}'
    event = private(login(representation=text, details={"phone": "49123456789"}), hash=["details.phone"])
    assert event["representation"] == "[redacted]"


def test_many_escapes_cost_little() -> None:
    for text in ("\\" * 200_000, "%25" * 100_000, "&amp;" * 100_000, "\\u005c" * 50_000):
        event = private(login(error=f"A {text} zoe@example.org"), drop=["details.email"])
        assert "zoe@example.org" not in event["error"]


def test_many_values_and_long_ones_cost_little_and_stand_nowhere() -> None:
    many = {f"k{number}": f"value number {number}" for number in range(5000)}
    event = private(login(details=many, error="It is value number 77"), hash=["details.*"])
    assert event["error"] == "[redacted]"
    assert event["details"].keys() == many.keys()
    event = private(login(details={"k": "x" * 500_000}, error=f"It is {'X' * 500_000}"), mask=["details"])
    assert event["error"] == "[redacted]"
    text = json.dumps({"attributes": [f"value {number}" for number in range(5000)]})
    event = private(login(representation=text, error="It is value 4999"), drop=["representation.attributes"])
    assert event["representation"] == event["error"] == "[redacted]"


_long = st.text(st.characters(exclude_categories=["Cs"]), min_size=INSIDE, max_size=20)


def escaped(text: str, ways: list[str]) -> str:
    """A text as one finds it inside of others."""
    for way in ways:
        match way:
            case "json":
                text = json.dumps({"k": text})
            case "raw":
                text = json.dumps([text], ensure_ascii=False)
            case "url":
                text = f"https://x/?u={quote(text)}"
            case "upper":
                text = text.upper() if text.upper().casefold() == text.casefold() else text
            case _:
                text = f"{way} {text}!"
    return text


_ways = st.lists(st.sampled_from(["json", "raw", "url", "upper", "User"]), max_size=3)


def strings(value: Any) -> list[str]:
    """Every text in a value of JSON, and, of those that are JSON or quoted themselves, in them."""
    if isinstance(value, dict):
        return [text for name, one in value.items() for text in (*strings(name), *strings(one))]
    if isinstance(value, list):
        return [text for one in value for text in strings(one)]
    if not isinstance(value, str):
        return [str(value)]
    found = [value]
    if value[:1] in ("{", "[", '"'):
        with suppress(ValueError):
            found += strings(json.loads(value))
    return found


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    event=EVENTS,
    value=_long,
    ways=st.lists(_ways, min_size=5, max_size=5),
    action=st.sampled_from(["drop", "hash"]),
    form=st.sampled_from(format_names()),
)
@example(event=make_event("anna"), value="Ünïcödé ß", ways=[["upper"]] * 5, action="hash", form="csv")
def test_a_dropped_or_hashed_value_is_in_no_format_of_any_event(
    event: dict[str, Any], value: str, ways: list[list[str]], action: str, form: str
) -> None:
    event = {
        **event,
        # A sentence: a code alone stays.
        "error": f"Not found: {escaped(value, ways[0])}",
        "realmName": escaped(value, ways[1]),
        "resourcePath": f"users/{escaped(value, ways[2])}",
        "representation": escaped(value, ways[3]),
        "authDetails": {**event.get("authDetails", {}), "username": value},
        "details": {**event.get("details", {}), "other": escaped(value, ways[4])},
    }
    told: dict[str, Any] = {action: ["authDetails.username"], **({"key": KEY} if action == "hash" else {})}
    written = Privacy(PrivacySettings.model_validate(told), "soc").apply(orjson.dumps(event))
    read = orjson.loads(written)
    # What always stays is the receiver's to know, whatever a person is called.
    kept = {
        name: read.pop(name, None) for name in ("uid", "type", "reason", "outcome", "resourceType", "operationType")
    }
    source = read.pop("source")
    Event.model_validate({**read, **{name: one for name, one in kept.items() if one is not None}, "source": source})
    assert not any(value.casefold() in text.casefold() for text in strings(read))
    plain = {**BARE_KEPT, **read}
    (record,) = make_format(read_format_settings(form)).write([make_entry(plain)])
    if form == "csv":
        (fields,) = csv.reader(io.StringIO(record.decode(), newline=""))
        assert not any(value.casefold() in text.casefold() for field in fields for text in strings(field))
    else:
        assert not any(value.casefold() in text.casefold() for text in strings(orjson.loads(record)))


BARE_KEPT = {
    "uid": "0b5f3a52-2a0e-5c0a-9a57-0f0f6a1c9e11",
    "type": "access.LOGIN",
    "outcome": "success",
    "source": {"name": "kc", "provider": "keycloak", "nativeType": "LOGIN", "receivedAt": 0, "mapping": "k@1"},
}


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(event=EVENTS, fields=st.lists(st.sampled_from([*FIELDS, "details.*", "*"]), min_size=1, max_size=4))
def test_any_event_of_the_model_stays_one(event: dict[str, Any], fields: list[str]) -> None:
    for action in ("drop", "mask", "hash"):
        told: dict[str, Any] = {action: fields}
        Event.model_validate(private(event, **told))


def test_real_events_lose_what_is_named_and_nothing_else_of_their_shape(catalogue: Catalogue) -> None:
    table = load_table(mappings_path() / "keycloak" / "mapping.yaml", catalogue)
    file = Path(__file__).parent / "captures" / "keycloak-26.6.4" / "push-webhook.ndjson"
    names = ["authDetails.username", "authDetails.userId", "details.username", "details.userId"]
    for line in file.read_text().splitlines():
        event, *_ = table.read(json.loads(json.loads(line)["body"]), 0)
        sent = {**(event or {}), "uid": BARE_KEPT["uid"]}
        told = private(sent, hash=names)
        assert told.keys() == sent.keys()
        gone = {sent["authDetails"].get("username"), sent["authDetails"].get("userId"), sent["details"].get("userId")}
        text = orjson.dumps({name: one for name, one in told.items() if name != "type"}).decode()
        assert not any(one in text for one in gone if one is not None and len(one) >= INSIDE)


# Settings


def test_all_fields_that_may_be_named_are_of_the_model() -> None:
    assert {f"authDetails.{name}" for name in AuthDetails.model_fields} <= set(FIELDS)
    assert {f"lookedUp.{name}" for name in LookedUp.model_fields} <= set(FIELDS)
    always = {"uid", "time", "type", "outcome", "reason", "operationType", "resourceType", "source"}
    assert {name.partition(".")[0] for name in FIELDS} | {"details"} == set(Event.model_fields) - always


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"drop": ["username"]}, "there is no field 'username'"),
        ({"drop": ["username"]}, "authDetails.username"),
        ({"mask": ["authDetails.email"]}, "details.NAME"),
        ({"mask": ["type"]}, "or it always stays"),
        ({"mask": ["uid"]}, "or it always stays"),
        ({"drop": ["details."]}, "there is no field 'details.'"),
        ({"hash": ["details.email"]}, "hash needs key, or key_file"),
        ({"key": KEY}, "key belongs to hash"),
        ({"hash": ["details.email"], "key": "short"}, "at least 32"),
        ({"forget": ["details.email"]}, "not permitted"),
    ],
)
def test_a_wrong_setting_says_what_is_right(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refusal:
        PrivacySettings.model_validate(wrong)
    assert KEY not in str(refusal.value)


async def test_it_holds_for_every_kind_of_sink_and_one_without_it_is_not_wrapped(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    base = {"name": "out", "kind": "file", "path": str(tmp_path / "out.ndjson")}
    told = read_sink_settings({**base, "privacy": {"hash": ["authDetails.userId"], "key_file": str(tmp_path / "key")}})
    assert KEY not in repr(told)
    async with open_sink(told, OutgoingSettings()) as sink:
        assert isinstance(sink, PrivateSink)
        entries = [make_entry(login(), position) for position in range(1, 251)]
        assert len(await sink.send(entries)) == 250
    written = (tmp_path / "out.ndjson").read_text()
    assert written.count("\n") == 250
    assert USER not in written
    async with open_sink(read_sink_settings(base), OutgoingSettings()) as sink:
        assert not isinstance(sink, PrivateSink)
