"""Signatures, judged by published vectors, by real ones, and by others' libraries."""

from __future__ import annotations

import base64
import hashlib
import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey, RSAKey
from pydantic import SecretStr, ValidationError
from standardwebhooks.webhooks import Webhook as Judge

from adapter.errors import ConfigError
from adapter.known_secrets import KnownSecrets
from adapter.section import secrets_of
from adapter.sinks.signing import (
    AnySecret,
    Signer,
    TimedSecret,
    make_secret,
    make_signer,
    public_secret,
    rotated,
    text_of,
)
from adapter.sinks.token_key import TokenKey, make_token_key, read_token_key
from adapter.sinks.webhook import Settings
from tests.docs.pages import DOCS, blocks

CAPTURES = Path(__file__).parent.parent / "captures" / "keycloak-26.6.4"

# The example of Standard Webhooks, for both schemes.
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SECRET, ENTRY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
PRIVATE_ENTRY = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
#: Phase Two's example.
PHASETWO_SECRET, PHASETWO_BODY = "A3jt6D8lz", b'{"type":"access.LOGIN","time":1700000000000}'
PHASETWO_BODY_HASH = "bacad3b3facedc340e266e9003952fa11949a5ea030c16712e5483c8ec63a831"
ISSUER = "https://id.example/realms/acme"
BEARER = {"kind": "phasetwo-bearer", "issuer": ISSUER, "audience": "siem"}


def settings(**more: Any) -> Settings:
    return Settings.model_validate({"name": "soc", "kind": "webhook", "url": "https://soc.example/", **more})


def signer(key: TokenKey | None = None, **more: Any) -> Signer:
    counted = iter(range(1000))
    return make_signer(settings(**more).signatures(), key, lambda size: next(counted).to_bytes(size, "big"))


def moment(epoch_seconds: int) -> datetime:
    return datetime.fromtimestamp(epoch_seconds, UTC)


def refusal(**more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        settings(**more)
    said = str(caught.value.errors(include_url=False, include_input=False))
    assert not [secret for secret in ("MfKQ9r8G", "6Xb/dCcH", PHASETWO_SECRET) if secret in str(caught.value)]
    return said


@pytest.fixture(scope="module")
def key() -> TokenKey:
    return make_token_key()


# Standard Webhooks


def test_the_standards_example_of_v1() -> None:
    assert signer(secret=SECRET)(ID, AT, BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": str(AT),
        "webhook-signature": ENTRY,
    }


def test_the_standards_example_of_v1a() -> None:
    assert signer(secret=PRIVATE)(ID, AT, BODY)["webhook-signature"] == PRIVATE_ENTRY
    assert public_secret(PRIVATE) == PUBLIC


def test_both_schemes_stand_in_one_header_in_the_order_of_the_secrets() -> None:
    assert signer(secret=[SECRET, PRIVATE])(ID, AT, BODY)["webhook-signature"] == f"{ENTRY} {PRIVATE_ENTRY}"
    assert signer(secret=[PRIVATE, SECRET])(ID, AT, BODY)["webhook-signature"] == f"{PRIVATE_ENTRY} {ENTRY}"


@given(body=st.text(), secrets=st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=4, unique=True))
def test_the_standards_own_library_accepts_each_of_many_secrets(body: str, secrets: list[bytes]) -> None:
    texts = [f"whsec_{base64.b64encode(one).decode()}" for one in secrets]
    at = int(datetime.now(UTC).timestamp())
    message = json.dumps({"text": body})
    headers = signer(secret=[*texts, PRIVATE])(ID, at, message.encode())
    # The library reads entries of other versions as others do: it passes them over.
    for one in texts:
        assert Judge(one).verify(message, headers) == {"text": body}


@given(body=st.binary(), seed=st.binary(min_size=32, max_size=32))
def test_a_v1a_signature_is_verified_by_the_public_key_and_by_no_other(body: bytes, seed: bytes) -> None:
    secret = make_secret("whsk", lambda size: seed)
    entry = signer(secret=secret)(ID, AT, body)["webhook-signature"]
    signed = f"{ID}.{AT}.".encode() + body
    public = base64.b64decode(public_secret(secret).removeprefix("whpk_"))
    Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(entry.removeprefix("v1a,")), signed)
    with pytest.raises(InvalidSignature):
        other = base64.b64decode(PUBLIC.removeprefix("whpk_"))
        Ed25519PublicKey.from_public_bytes(other).verify(base64.b64decode(entry.removeprefix("v1a,")), signed)


def test_a_secret_with_an_end_signs_until_then_and_no_longer() -> None:
    sign = signer(secret=[OTHER, {"secret": SECRET, "until": moment(AT)}, {"secret": PRIVATE, "until": moment(AT + 1)}])
    entries = [sign(ID, at, BODY)["webhook-signature"].split() for at in (AT - 1, AT, AT + 1)]
    assert [len(one) for one in entries] == [3, 2, 1]
    assert entries[1][1] == PRIVATE_ENTRY
    assert Judge(OTHER).sign(ID, moment(AT + 1), BODY.decode()) == entries[2][0]


def test_without_a_secret_only_id_and_time_are_sent() -> None:
    assert signer()(ID, AT, BODY) == {"webhook-id": ID, "webhook-timestamp": str(AT)}


# Rotation


def test_made_secrets_sign() -> None:
    numbers = iter(range(1000))
    made = [make_secret(kind, lambda size: bytes([next(numbers)] * size)) for kind in ("whsec", "whsk", "whsec")]
    assert len(set(made)) == 3
    versions = [one.partition(",")[0] for one in signer(secret=made)(ID, AT, BODY)["webhook-signature"].split()]
    assert versions == ["v1", "v1a", "v1"]
    assert len(base64.b64decode(made[0].removeprefix("whsec_"))) == 32


def said(secrets: tuple[AnySecret, ...]) -> list[tuple[str, datetime | None]]:
    return [(text_of(one), one.until if isinstance(one, TimedSecret) else None) for one in secrets]


def test_a_rotated_secret_goes_first_and_the_one_before_ends_after_the_overlap() -> None:
    now = moment(AT)
    once = rotated([SecretStr(SECRET)], OTHER, now)
    assert said(once) == [(OTHER, None), (SECRET, now + timedelta(hours=24))]
    third = make_secret("whsec", lambda size: b"3" * size)
    soon = rotated(once, third, now + timedelta(hours=1), timedelta(hours=48))
    assert said(soon) == [
        (third, None), (OTHER, now + timedelta(hours=49)), (SECRET, now + timedelta(hours=24)),
    ]  # fmt: skip
    late = rotated(soon, third, now + timedelta(hours=30), timedelta(0))
    assert said(late) == [(third, None)]


def test_a_secret_of_the_other_scheme_is_left_as_it_is() -> None:
    new = make_secret("whsk", lambda size: b"n" * size)
    once = rotated([SecretStr(SECRET), SecretStr(PRIVATE)], new, moment(AT))
    assert said(once) == [(new, None), (SECRET, None), (PRIVATE, moment(AT) + timedelta(hours=24))]
    assert len(signer(secret=list(once))(ID, AT, BODY)["webhook-signature"].split()) == 3


# Phase Two


def test_phase_twos_example() -> None:
    for digest, right in (
        ("sha256", "fd21f806c2a79664a42d6547640fb3a3a66473502a66374d5a9b279f676dd859"),
        ("sha1", "d28579b1353875d511389218ce1f16825189aada"),
    ):
        sign = signer(secret=PHASETWO_SECRET, signature=f"phasetwo-{digest}")
        assert sign(ID, AT, PHASETWO_BODY) == {"X-Keycloak-Signature": right}


@pytest.mark.parametrize(("sender", "secret"), [("push-webhook", "A3jt6D8lz"), ("push-http", "s3cr3t")])
def test_what_a_real_listener_signed_gets_the_same_signature_of_ours(sender: str, secret: str) -> None:
    sign = signer(secret=secret, signature="phasetwo-sha256")
    posts = [json.loads(line) for line in (CAPTURES / f"{sender}.ndjson").read_text("utf-8").splitlines()]
    assert len(posts) > 90
    for post in posts:
        right = post["headers"]["X-Keycloak-Signature"]
        assert sign(ID, AT, post["body"].encode())["X-Keycloak-Signature"] == right


def test_a_token_is_phase_twos_and_verified_by_the_public_key(key: TokenKey) -> None:
    headers = signer(key, signature=BEARER)(ID, AT, PHASETWO_BODY)
    assert set(headers) == {"Authorization"}
    scheme, _, token = headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    # As a receiver has it: over the wire, as JSON.
    published = KeySet.import_key_set(json.loads(json.dumps({"keys": [key.public]})))
    read = jwt.decode(token, published, algorithms=["RS256"])
    assert read.header == {"alg": "RS256", "typ": "JWT", "kid": key.public["kid"]}
    assert read.claims == {
        "iss": ISSUER,
        "aud": "siem",
        "jti": "00" * 16,
        "iat": AT,
        "exp": AT + 300,
        "request_body_sha256": PHASETWO_BODY_HASH,
    }


def test_each_token_has_an_id_of_its_own_and_an_audience_only_if_there_is_one(key: TokenKey) -> None:
    sign = signer(key, signature={"kind": "phasetwo-bearer", "issuer": ISSUER})
    tokens = [sign(ID, AT, BODY)["Authorization"].removeprefix("Bearer ") for _ in range(3)]
    claims = [jwt.decode(one, RSAKey.import_key(key.public), algorithms=["RS256"]).claims for one in tokens]
    assert len({one["jti"] for one in claims}) == 3
    assert all("aud" not in one for one in claims)


def test_a_receiver_can_move_as_all_signatures_stand_beside_each_other(key: TokenKey) -> None:
    hmac = {"kind": "phasetwo-sha256", "secret": PHASETWO_SECRET}
    headers = signer(key, secret=[SECRET, PRIVATE], signature=["standard", hmac, BEARER])(ID, AT, BODY)
    assert headers["webhook-signature"] == f"{ENTRY} {PRIVATE_ENTRY}"
    alone = signer(secret=PHASETWO_SECRET, signature="phasetwo-sha256")(ID, AT, BODY)
    assert headers["X-Keycloak-Signature"] == alone["X-Keycloak-Signature"]
    assert set(headers) == {
        "webhook-id", "webhook-timestamp", "webhook-signature", "X-Keycloak-Signature", "Authorization",
    }  # fmt: skip


# Keys


def test_public_keys_are_shown_of_what_signs_now() -> None:
    until = {"secret": PRIVATE, "until": moment(AT)}
    sink = settings(secret=[SECRET, until])
    (shown,) = sink.public_keys(moment(AT - 1))
    assert sink.public_keys(moment(AT)) == []
    assert base64.urlsafe_b64decode(shown["x"] + "=") == base64.b64decode(PUBLIC.removeprefix("whpk_"))
    as_judged = OKPKey.import_key(dict(shown))
    assert as_judged.thumbprint() == shown["kid"]
    assert "d" not in shown


def test_a_key_is_read_from_pem_and_from_a_jwk(key: TokenKey) -> None:
    pem = RSAKey.import_key(dict(key.private)).as_pem(private=True)  # type: ignore[arg-type]
    least = {name: key.private[name] for name in ("kty", "n", "e", "d")}
    for one in (pem, json.dumps(key.private).encode(), json.dumps(least).encode()):
        assert read_token_key(one, "key").public == key.public
    assert "d" not in key.public


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hunter2", id="no key"),
        pytest.param(b'{"kty":"oct","k":"aHVudGVyMg"}', id="a secret"),
        pytest.param(OKPKey.generate_key("Ed25519").as_pem(private=True), id="of another type"),
        pytest.param(b"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n", id="broken"),
        pytest.param(
            RSAKey.import_key(
                {"kty": "RSA", "e": "AQAB", "n": base64.urlsafe_b64encode(b"\xff" * 256).decode().rstrip("=")}
            ).as_pem(private=False),
            id="public",
        ),
    ],
)
def test_what_is_no_private_rsa_key_is_refused_without_a_word_of_it(given: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^signing: must be a private RSA key of 2048 bits or more") as caught:
        read_token_key(given, "signing")
    assert "hunter2" not in str(caught.value)


# Settings


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"secret": PRIVATE[:-8] + "AAAAAA=="}, "do not belong together"),
        ({"secret": "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "whsk_ and the base64 of the 64 bytes"),
        ({"secret": {"secret": SECRET, "until": "2026-11-24T00:00:00Z"}}, "every secret has an end"),
        ({"secret": [SECRET, {"secret": OTHER, "until": "2026-11-24T00:00:00"}]}, "timezone"),
        (
            {"secret": [SECRET, {"secret": OTHER, "end": "2026-11-24T00:00:00Z"}]},
            "there are secret, secret_file, until",
        ),
        ({"secret": [SECRET, 7]}, "a text, or a table with secret and until"),
        ({"secret": SECRET, "signature": ["standard", "phasetwo-sha256"]}, "both named alone"),
        ({"secret": SECRET, "signature": [{"kind": "phasetwo-sha256", "secret": PHASETWO_SECRET}]}, "there is none"),
        ({"secret": SECRET, "signature": ["standard", {"kind": "standard", "secret": OTHER}]}, "webhook-signature"),
        (
            {"secret": "x", "signature": ["phasetwo-sha1", {"kind": "phasetwo-sha256", "secret": PHASETWO_SECRET}]},
            "two signatures would stand in X-Keycloak-Signature",
        ),
        (
            {"secret": {"secret": "x", "until": "2026-11-24T00:00:00Z"}, "signature": "phasetwo-sha256"},
            "takes a secret without an end",
        ),
        ({"signature": {"kind": "phasetwo-sha256", "secret": ""}}, "at least 1"),
        ({"signature": "phasetwo-bearer"}, "is given as a table"),
        ({"signature": {"kind": "phasetwo-bearer"}}, "Field required"),
        ({"signature": {"kind": "phasetwo-bearer", "issuer": "acme"}}, "must begin with https://"),
        ({"signature": {"kind": "hs256"}}, "there are: standard, phasetwo-sha256, phasetwo-sha1, phasetwo-bearer"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_is_right(wrong: dict[str, Any], text: str) -> None:
    assert text in refusal(**wrong)


def test_secrets_may_stand_in_files_and_are_known_as_secrets(tmp_path: Path) -> None:
    for name, text in {"new": OTHER, "old": SECRET, "keycloak": "a-long-secret-of-phase-two"}.items():
        (tmp_path / name).write_text(f"{text}\n")
    read = settings(
        secret=[{"secret_file": tmp_path / "new"}, {"secret_file": tmp_path / "old", "until": moment(AT)}],
        signature=["standard", {"kind": "phasetwo-sha256", "secret_file": tmp_path / "keycloak"}],
    )
    assert sorted(secrets_of(read)) == sorted([OTHER, SECRET, "a-long-secret-of-phase-two"])
    assert "MfKQ" not in repr(read)
    assert "a-long-secret" not in repr(read)


def test_a_private_key_of_a_sink_never_stands_in_an_event() -> None:
    known = KnownSecrets([PRIVATE])
    told = json.dumps({"said": f"the key is {PRIVATE.removeprefix('whsk_')}"}).encode()
    assert PRIVATE.removeprefix("whsk_").encode() not in known.cleaned(told)


def test_a_body_is_hashed_as_it_is_sent(key: TokenKey) -> None:
    token = signer(key, signature=BEARER)(ID, AT, b"\x1f\x8b\x00")["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, RSAKey.import_key(key.public), algorithms=["RS256"]).claims
    assert claims["request_body_sha256"] == hashlib.sha256(b"\x1f\x8b\x00").hexdigest()


# What the page says


def test_the_page_shows_settings_that_are_taken() -> None:
    shown = [one.text for one in blocks(DOCS / "sinks.md") if one.language == "toml" and one.title is None]
    (ending,) = (tomllib.loads(one) for one in shown if "until" in one)
    secrets = [{"secret": OTHER}, {**ending["secret"][1], "secret": SECRET}]
    read = settings(secret=secrets)
    assert said(read.secret) == [(OTHER, None), (SECRET, datetime(2026, 12, 1, 12, tzinfo=UTC))]
    (beside,) = (tomllib.loads(one) for one in shown if "phasetwo-bearer" in one)
    assert [one if isinstance(one, str) else one["kind"] for one in beside["signature"]] == [
        "standard", "phasetwo-sha256", "phasetwo-bearer",
    ]  # fmt: skip


def page_code(title: str) -> Any:
    """``verify`` of a file on the page about sinks."""
    (text,) = (one.text for one in blocks(DOCS / "sinks.md") if one.title == title)
    names: dict[str, Any] = {}
    exec(text, names)
    return names["verify"]


def test_a_receiver_can_verify_as_the_page_says(key: TokenKey) -> None:
    now = int(datetime.now(UTC).timestamp())
    headers = signer(key, secret=[SECRET, PRIVATE], signature=["standard", BEARER])(ID, now, BODY)
    keys = {"keys": [key.public, make_token_key().public]}
    v1, v1a, token = (page_code(name) for name in ("verify.py", "verify_v1a.py", "verify_token.py"))
    assert v1(headers, BODY, SECRET)
    assert v1a(headers, BODY, PUBLIC)
    assert token(headers, BODY, keys, ISSUER, "siem")
    assert not v1(headers, BODY + b" ", SECRET)
    assert not v1a(headers, BODY + b" ", PUBLIC)
    assert not token(headers, BODY + b" ", keys, ISSUER, "siem")
    assert not v1a(headers, BODY, public_secret(make_secret("whsk", lambda size: b"x" * size)))
    assert not token(headers, BODY, {"keys": [make_token_key().public]}, ISSUER, "siem")
    assert not token(headers, BODY, keys, ISSUER, "another")
    assert not token({}, BODY, keys, ISSUER, "siem")
    old = signer(key, secret=[SECRET, PRIVATE], signature=["standard", BEARER])(ID, now - 301, BODY)
    assert not v1(old, BODY, SECRET)
    assert not v1a(old, BODY, PUBLIC)
    assert not token(old, BODY, keys, ISSUER, "siem")
