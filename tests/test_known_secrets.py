from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.known_secrets import REDACTED, SHORTEST, KnownSecrets

SECRET = "Qks-EpSEJ/N9XGl+cnyB=Vo7"
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=SHORTEST, max_size=60)


def in_json(text: str, levels: int) -> str:
    for _ in range(levels):
        text = json.dumps({"sharedSecret": text})
    return text


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "JSON": lambda text: in_json(text, 1),
    "JSON in JSON in JSON": lambda text: in_json(text, 3),
    "slashes escaped": lambda text: in_json(text, 1).replace("/", "\\/"),
    "all but letters and digits as \\u": lambda text: "".join(
        one if one.isalnum() else f"\\u{ord(one):04X}" for one in text
    ),
    "URL": lambda text: quote(text, safe=""),
    "URL, lower case": lambda text: "".join(one if one.isalnum() else f"%{ord(one):02x}" for one in text),
    "HTML": html.escape,
    "HTML, numbers": lambda text: "".join(one if one.isalnum() else f"&#{ord(one)};" for one in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "basic": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64, other place": lambda text: base64.b64encode(f"ab{text}, and more".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(f"a{text}".encode()).decode(),
}


@pytest.mark.parametrize("form", [one for one in FORMS if one != "HTML"])
@given(secret=PRINTABLE, before=st.text(max_size=9), after=st.text(max_size=9))
def test_a_secret_is_found_however_it_is_escaped(form: str, secret: str, before: str, after: str) -> None:
    known = KnownSecrets(["another-secret-of-somebody", secret])
    written = FORMS[form](secret)
    raw = f"{before} {written} {after}".encode("utf-8", "surrogatepass")
    assert known.may_be_in(raw)
    cleaned = known.cleaned(raw)
    assert REDACTED.encode() in cleaned
    assert written.encode() not in cleaned


def test_json_stays_json() -> None:
    for levels in range(1, 4):
        cleaned = KnownSecrets([SECRET]).cleaned(in_json(SECRET, levels).encode())
        inner = cleaned.decode()
        for _ in range(levels):
            inner = json.loads(inner)["sharedSecret"]
        assert inner == REDACTED


@given(st.binary(max_size=200))
def test_what_holds_none_is_the_same_object(raw: bytes) -> None:
    assert KnownSecrets([SECRET]).cleaned(raw) is raw


def test_a_short_secret_may_be_a_word_and_is_not_looked_for() -> None:
    known = KnownSecrets(["password"])
    assert not known.may_be_in(b"password")


def test_without_secrets_nothing_is_searched() -> None:
    assert not KnownSecrets().may_be_in(SECRET.encode())


def test_one_that_is_added_later_is_found() -> None:
    known = KnownSecrets()
    known.add(SECRET)
    assert known.cleaned(f"x{SECRET}x".encode()) == b"x[redacted]x"


def test_of_the_secret_of_a_webhook_the_part_behind_its_prefix_is_enough() -> None:
    known = KnownSecrets(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    assert known.cleaned(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") == b"whsec_[redacted]"
    assert known.cleaned(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") == b"[redacted]"


def test_texts_keys_and_numbers_of_a_value_are_cleaned() -> None:
    known = KnownSecrets([SECRET, "1234567890123456"])
    value = {"a": ["x", {SECRET: f"<{SECRET}>"}], "n": 1234567890123456, "t": True, "none": None, "f": 1.5}
    assert known.cleaned_value(value) == {
        "a": ["x", {REDACTED: f"<{REDACTED}>"}], "n": REDACTED, "t": True, "none": None, "f": 1.5,
    }  # fmt: skip
    assert known.cleaned_value(plain := {"a": ["x", 1], "b": {"c": None}}) is plain


@pytest.mark.parametrize("form", FORMS)
def test_of_thousands_of_secrets_each_is_found(form: str) -> None:
    known = KnownSecrets()
    made = [base64.b64encode(hashlib.sha256(b"%d" % number).digest()).decode() for number in range(1000)]
    for secret in made:
        known.add(f"whsec_{secret}")
    for number, secret in enumerate(made):
        written = FORMS[form](secret)
        raw = f"{'x' * (number % 9)}{written}{'y' * (number % 7)}".encode()
        assert known.may_be_in(raw)
        assert number % 100 or written.encode() not in known.cleaned(raw)
    assert not known.may_be_in(base64.b64encode(hashlib.sha256(b"another").digest()))
