from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from adapter.mapping.language import HeaderProof, Hmac, HmacProof
from adapter.sources.authentication import Authenticator

BODY = b'{"type":"access.LOGIN","time":1700000000000}'
SIGNATURE = HmacProof(hmac=Hmac(header="X-Keycloak-Signature", digest=["sha256", "sha1"]))


def authenticator(*proofs: object, tokens: tuple[str, ...] = ("A3jt6D8lz",)) -> Authenticator:
    return Authenticator(list(proofs), tokens, lambda token: token == "admin")  # type: ignore[arg-type]


def basic(password: str, user: str = "anyone") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_the_published_signatures_of_phase_two_hold() -> None:
    source = authenticator(SIGNATURE)
    sha256 = "fd21f806c2a79664a42d6547640fb3a3a66473502a66374d5a9b279f676dd859"
    assert source.proves({"X-Keycloak-Signature": sha256}, BODY)
    assert source.proves({"X-Keycloak-Signature": "d28579b1353875d511389218ce1f16825189aada"}, BODY)
    assert not source.proves({"X-Keycloak-Signature": sha256}, BODY + b" ")
    assert not source.proves({"X-Keycloak-Signature": ""}, BODY)


def test_any_of_several_tokens_serves_in_every_proof() -> None:
    source = authenticator("bearer", "basic", SIGNATURE, HeaderProof(header="X-Api-Key"), tokens=("old-one", "new-one"))
    for token in ("old-one", "new-one"):
        assert source.proves({"Authorization": f"Bearer {token}"}, BODY)
        assert source.proves(basic(token), BODY)
        assert source.proves({"X-Api-Key": token}, BODY)
        mac = hmac.new(token.encode(), BODY, hashlib.sha256).hexdigest()
        assert source.proves({"X-Keycloak-Signature": mac}, BODY)
    assert not source.proves({"Authorization": "Bearer older-one"}, BODY)


def test_a_request_without_any_proof_is_refused() -> None:
    assert not authenticator("bearer", SIGNATURE).proves({}, BODY)


def test_every_proof_that_is_presented_must_hold() -> None:
    source = authenticator("bearer", SIGNATURE)
    good = {"Authorization": "Bearer A3jt6D8lz"}
    assert source.proves(good, BODY)
    assert not source.proves({**good, "X-Keycloak-Signature": "00"}, BODY)
    mac = hmac.new(b"A3jt6D8lz", BODY, hashlib.sha256).hexdigest()
    assert not source.proves({"Authorization": "Bearer wrong", "X-Keycloak-Signature": mac}, BODY)


def test_a_proof_that_the_table_does_not_declare_proves_nothing() -> None:
    assert not authenticator(SIGNATURE).proves({"Authorization": "Bearer A3jt6D8lz"}, BODY)
    assert not authenticator("bearer").proves(basic("A3jt6D8lz"), BODY)
    assert not authenticator("bearer").proves({"X-Keycloak-Signature": "00"}, BODY)


def test_the_administrator_may_post_to_every_source() -> None:
    assert authenticator(SIGNATURE).proves({"Authorization": "Bearer admin"}, BODY)


def test_one_right_signature_among_several_is_enough_while_secrets_change() -> None:
    rule = Hmac(header="X-Signature", digest=["sha256"], prefix="sha256=")
    mac = "sha256=" + hmac.new(b"A3jt6D8lz", BODY, hashlib.sha256).hexdigest()
    assert authenticator(HmacProof(hmac=rule)).proves({"X-Signature": f"sha256=00, {mac}"}, BODY)


@pytest.mark.parametrize("value", ["Basic %%%", "Basic", "Bearer", "Bearer ", "Negotiate x", "", "Basic " + "=" * 9])
def test_a_malformed_authorization_is_refused(value: str) -> None:
    assert not authenticator("bearer", "basic").proves({"Authorization": value}, BODY)
