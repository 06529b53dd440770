from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json

import pytest
from joserfc import jws, jwt
from joserfc.jwk import OctKey
from multidict import CIMultiDict

from adapter.mapping.language import HeaderCredential, Hmac, HmacCredential, Jwt, JwtCredential, Timestamp
from adapter.sources.authentication import Authenticator, Decoys
from tests.mapping.built_in import table

NOW = 1_700_000_000.0
BODY = b'{"type":"access.LOGIN","time":1700000000000}'
SIGNATURE = HmacCredential(hmac=Hmac(header="X-Keycloak-Signature", digest=["sha256", "sha1"]))


def authenticator(*credentials: object, tokens: tuple[str, ...] = ("A3jt6D8lz",)) -> Authenticator:
    return Authenticator(list(credentials), tokens, lambda token: token == "admin", Decoys(list(credentials)))  # type: ignore[arg-type]


def proves(source: Authenticator, headers: dict[str, str], body: bytes, now: float) -> bool:
    return asyncio.run(source.refusal(CIMultiDict(headers), body, now)) is None


def basic(password: str, user: str = "anyone") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_the_published_signatures_of_phase_two_hold() -> None:
    source = authenticator(SIGNATURE)
    sha256 = "fd21f806c2a79664a42d6547640fb3a3a66473502a66374d5a9b279f676dd859"
    assert proves(source, {"X-Keycloak-Signature": sha256}, BODY, NOW)
    assert proves(source, {"X-Keycloak-Signature": "d28579b1353875d511389218ce1f16825189aada"}, BODY, NOW)
    assert not proves(source, {"X-Keycloak-Signature": sha256}, BODY + b" ", NOW)
    assert not proves(source, {"X-Keycloak-Signature": ""}, BODY, NOW)


def test_any_of_several_tokens_serves_in_every_credential() -> None:
    source = authenticator(
        "bearer", "basic", SIGNATURE, HeaderCredential(header="X-Api-Key"), tokens=("old-one", "new-one")
    )
    for token in ("old-one", "new-one"):
        assert proves(source, {"Authorization": f"Bearer {token}"}, BODY, NOW)
        assert proves(source, basic(token), BODY, NOW)
        assert proves(source, {"X-Api-Key": token}, BODY, NOW)
        mac = hmac.new(token.encode(), BODY, hashlib.sha256).hexdigest()
        assert proves(source, {"X-Keycloak-Signature": mac}, BODY, NOW)
    assert not proves(source, {"Authorization": "Bearer older-one"}, BODY, NOW)


def test_a_request_without_any_proof_is_refused() -> None:
    assert not proves(authenticator("bearer", SIGNATURE), {}, BODY, NOW)


def test_every_proof_that_is_presented_must_hold() -> None:
    source = authenticator("bearer", SIGNATURE)
    good = {"Authorization": "Bearer A3jt6D8lz"}
    assert proves(source, good, BODY, NOW)
    assert not proves(source, {**good, "X-Keycloak-Signature": "00"}, BODY, NOW)
    mac = hmac.new(b"A3jt6D8lz", BODY, hashlib.sha256).hexdigest()
    assert not proves(source, {"Authorization": "Bearer wrong", "X-Keycloak-Signature": mac}, BODY, NOW)


def test_a_proof_that_the_table_does_not_declare_proves_nothing() -> None:
    assert not proves(authenticator(SIGNATURE), {"Authorization": "Bearer A3jt6D8lz"}, BODY, NOW)
    assert not proves(authenticator("bearer"), basic("A3jt6D8lz"), BODY, NOW)
    assert not proves(authenticator("bearer"), {"X-Keycloak-Signature": "00"}, BODY, NOW)


def test_the_administrator_may_post_to_every_source() -> None:
    assert proves(authenticator(SIGNATURE), {"Authorization": "Bearer admin"}, BODY, NOW)


def test_one_right_signature_among_several_is_enough_while_secrets_change() -> None:
    rule = Hmac(header="X-Signature", digest=["sha256"], prefix="sha256=")
    mac = "sha256=" + hmac.new(b"A3jt6D8lz", BODY, hashlib.sha256).hexdigest()
    assert proves(authenticator(HmacCredential(hmac=rule)), {"X-Signature": f"sha256=00, {mac}"}, BODY, NOW)


def test_a_prefix_may_be_left_out_only_where_the_table_says_so() -> None:
    rule = Hmac(header="X-Signature", digest=["sha256"], prefix="sha256=", bare=True)
    strict = authenticator(HmacCredential(hmac=rule.model_copy(update={"bare": False})))
    lenient = authenticator(HmacCredential(hmac=rule))
    mac = hmac.new(b"A3jt6D8lz", BODY, hashlib.sha256).hexdigest()
    wrong = hmac.new(b"another", BODY, hashlib.sha256).hexdigest()
    for value in (f"sha256={mac}", f"sha256={wrong}, sha256={mac}"):
        assert proves(strict, {"X-Signature": value}, BODY, NOW)
        assert proves(lenient, {"X-Signature": value}, BODY, NOW)
    assert proves(lenient, {"X-Signature": mac}, BODY, NOW)
    assert not proves(strict, {"X-Signature": mac}, BODY, NOW)
    for value in (f"sha256={wrong}", wrong, f"sha1={mac}", f"sha256=sha256={mac}", "sha256=", ""):
        assert not proves(lenient, {"X-Signature": value}, BODY, NOW)
    with pytest.raises(ValueError, match="prefix"):
        Hmac(header="X-Signature", digest=["sha256"], bare=True)


def test_keycloaks_signature_is_taken_bare_and_with_the_digest_before_it() -> None:
    source = authenticator(*table("keycloak").mapping.auth, tokens=("old-one", "new-one"))
    old, new = (hmac.new(token, BODY, hashlib.sha256).hexdigest() for token in (b"old-one", b"new-one"))
    for value in (new, f"sha256={new}", f"sha256={old}, sha256={new}"):
        assert proves(source, {"X-Keycloak-Signature": value}, BODY, NOW)
    assert not proves(source, {"X-Keycloak-Signature": f"sha256={new[::-1]}"}, BODY, NOW)


@pytest.mark.parametrize("value", ["Basic %%%", "Basic", "Bearer", "Bearer ", "Negotiate x", "", "Basic " + "=" * 9])
def test_a_malformed_authorization_is_refused(value: str) -> None:
    assert not proves(authenticator("bearer", "basic"), {"Authorization": value}, BODY, NOW)


TIMED = Hmac(
    header="X-Signature",
    digest=["sha256"],
    part="v1",
    signs="{timestamp}.{body}",
    timestamp=Timestamp(part="t", tolerance=300),
)


def timed(moment: str, key: bytes = b"A3jt6D8lz") -> dict[str, str]:
    mac = hmac.new(key, moment.encode() + b"." + BODY, hashlib.sha256).hexdigest()
    return {"X-Signature": f"t={moment},v1={mac}"}


def test_a_timed_signature_holds_for_its_tolerance_only() -> None:
    source = authenticator(HmacCredential(hmac=TIMED))
    assert proves(source, timed("1699999800"), BODY, NOW)
    assert proves(source, timed("1700000000000"), BODY, NOW)
    assert not proves(source, timed("1699999699"), BODY, NOW)
    assert not proves(source, timed("1700000301"), BODY, NOW)
    assert not proves(source, timed("soon"), BODY, NOW)
    moved = timed("1699999800")["X-Signature"].replace("t=1699999800", "t=1700000000")
    assert not proves(source, {"X-Signature": moved}, BODY, NOW)


def test_zitadels_signature_holds_with_both_names_of_its_header() -> None:
    source = authenticator(*table("zitadel").mapping.auth)
    value = timed("1699999800")["X-Signature"]
    for name in ("ZITADEL-Signature", "X-ZITADEL-Signature"):
        assert proves(source, {name: value}, BODY, NOW)
        assert proves(source, {name: value}, BODY, NOW + 100)
        assert not proves(source, {name: value}, BODY, NOW + 101)
        assert not proves(source, {name: value}, BODY + b" ", NOW)


def test_oktas_hook_sends_its_secret_as_the_whole_header() -> None:
    source = authenticator(*table("okta").mapping.auth)
    assert proves(source, {"Authorization": "A3jt6D8lz"}, BODY, NOW)
    assert not proves(source, {"Authorization": "A3jt6D8l"}, BODY, NOW)


def test_a_secret_may_be_the_whole_authorization_header() -> None:
    source = authenticator(HeaderCredential(header="Authorization"))
    assert proves(source, {"Authorization": "A3jt6D8lz"}, BODY, NOW)
    assert not proves(source, {"Authorization": "other"}, BODY, NOW)


def test_a_token_signed_with_the_secret_holds_until_it_runs_out() -> None:
    source = authenticator(
        JwtCredential(jwt=Jwt(header="x-webhook-secret")), tokens=("a-secret-of-some-length-1234567890",)
    )
    key = OctKey.import_key("a-secret-of-some-length-1234567890")

    def token(**claims: object) -> dict[str, str]:
        return {"x-webhook-secret": jwt.encode({"alg": "HS256"}, claims, key)}

    assert proves(source, token(), BODY, NOW)
    assert proves(source, token(exp=1_700_000_100), BODY, NOW)
    assert not proves(source, token(exp=1_699_999_000), BODY, NOW)
    other = OctKey.import_key("another-secret-of-some-length-1234")
    assert not proves(source, {"x-webhook-secret": jwt.encode({"alg": "HS256"}, {}, other)}, BODY, NOW)
    none = "eyJhbGciOiJub25lIn0.e30."
    assert not proves(source, {"x-webhook-secret": none}, BODY, NOW)
    assert not proves(source, {"x-webhook-secret": "rubbish"}, BODY, NOW)


@pytest.mark.parametrize(
    ("claims", "holds"),
    [
        ({"exp": NOW - 59, "nbf": NOW + 59, "iat": NOW + 59}, True),
        ({"exp": 1e300}, True),
        ({"exp": NOW - 61}, False),
        ({"exp": str(int(NOW) + 100)}, False),
        ({"exp": True}, False),
        ({"exp": None}, False),
        ({"exp": [NOW + 100]}, False),
        ({"exp": float("inf")}, False),
        ({"exp": float("nan")}, False),
        ({"exp": 10**400}, True),
        ({"nbf": NOW + 61}, False),
        ({"nbf": str(int(NOW))}, False),
        ({"nbf": 10**400}, False),
        ({"iat": NOW + 61}, False),
        ({"iat": "now"}, False),
    ],
    ids=str,
)
def test_the_moments_in_a_signed_token_are_numbers_and_allow_it_now(claims: dict[str, object], holds: bool) -> None:
    source = authenticator(
        JwtCredential(jwt=Jwt(header="x-webhook-secret")), tokens=("a-secret-of-some-length-1234567890",)
    )
    key = OctKey.import_key("a-secret-of-some-length-1234567890")
    value = jws.serialize_compact({"alg": "HS256"}, json.dumps(claims).encode(), key)
    assert proves(source, {"x-webhook-secret": value}, BODY, NOW) is holds


@pytest.mark.parametrize("header", [b"[" * 4000, b"[]", b"null", b'{"alg": ["HS256"]}', b'{"alg": "HS256", "crit": 1}'])
def test_a_signed_token_that_nobody_can_read_is_refused(header: bytes) -> None:
    source = authenticator(JwtCredential(jwt=Jwt(header="x-webhook-secret")))
    value = base64.urlsafe_b64encode(header).decode().rstrip("=") + ".e30.AAAA"
    assert not proves(source, {"x-webhook-secret": value}, BODY, NOW)


def test_a_proof_that_is_presented_twice_is_refused() -> None:
    secret = "a-secret-of-some-length-1234567890"
    stamped = Hmac(
        header="X-Stamped", digest=["sha256"], signs="{timestamp}{body}", timestamp=Timestamp(header="X-Stamp")
    )
    signed_token = JwtCredential(jwt=Jwt(header="X-Jwt"))
    source = authenticator(
        "bearer",
        HeaderCredential(header="X-Key"),
        SIGNATURE,
        HmacCredential(hmac=stamped),
        signed_token,
        tokens=(secret,),
    )
    mac = hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    stamped_mac = hmac.new(secret.encode(), b"1700000000" + BODY, hashlib.sha256).hexdigest()
    right = {
        "Authorization": f"Bearer {secret}",
        "X-Key": secret,
        "X-Keycloak-Signature": mac,
        "X-Stamped": stamped_mac,
        "X-Jwt": jwt.encode({"alg": "HS256"}, {}, OctKey.import_key(secret)),
    }
    for name, value in right.items():
        headers = {name: value, "X-Stamp": "1700000000"}
        assert proves(source, headers, BODY, NOW)
        for other in (value, "wrong"):
            twice = CIMultiDict([*headers.items(), (name, other)])
            assert asyncio.run(source.refusal(twice, BODY, NOW)) is not None
    twice = CIMultiDict({"X-Stamped": stamped_mac, "X-Stamp": "1700000000"})
    twice.add("X-Stamp", "1700000000")
    assert asyncio.run(source.refusal(twice, BODY, NOW)) is not None


def test_only_a_signature_asks_for_the_body() -> None:
    source = authenticator("bearer", HeaderCredential(header="X-Key"), SIGNATURE)
    signature = {"X-Keycloak-Signature": "00"}
    for presented, asks in [
        ({}, False),
        ({"X-Key": "wrong"}, False),
        ({"Authorization": "Bearer wrong", **signature}, False),
        ({"Authorization": "Bearer A3jt6D8lz"}, False),
        (signature, True),
        ({"Authorization": "Bearer A3jt6D8lz", **signature}, True),
    ]:
        judgement = source.judge(CIMultiDict(presented), NOW)
        assert bool(judgement.signatures) is asks
        assert judgement.proven is ("Bearer A3jt6D8lz" in presented.values())
