"""Signed tokens: which prove their source, which prove the body, and how none passes for another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from aiohttp import ClientSession
from joserfc import jwt
from multidict import CIMultiDict

from adapter.mapping.language import BodyHash, Jwt, JwtCredential
from adapter.sources.authentication import Authenticator, Decoys
from adapter.sources.public_keys import PublicKeys, read_keys
from tests.mapping.acme import MAPPING, TYPES, write_table
from tests.opened import opened
from tests.sources.signing import KEYS, SECRET, bound, by_hand, jwk, pem, signed, unsigned

NOW = 1_700_000_000.0
BODY = b'{"event": {"type": "user.login.success"}}'
HEADER = "X-FusionAuth-Signature-JWT"
CLAIM = "request_body_sha256"


def rule(**more: Any) -> Jwt:
    given = {"header": HEADER, "algorithms": list(KEYS), "body_hash": {"claim": CLAIM}, **more}
    return Jwt.model_validate(given)


def source(rule: Jwt, *, public: bytes | None = None, tokens: tuple[str, ...] = (SECRET,)) -> Authenticator:
    credentials = [JwtCredential(jwt=rule)]
    keys = None if public is None else PublicKeys(read_keys(public))
    return Authenticator(credentials, tokens, lambda token: token == "admin", Decoys(credentials), keys)


def refusal(source: Authenticator, token: str, body: bytes = BODY, header: str = HEADER) -> str | None:
    return asyncio.run(source.refusal(CIMultiDict({header: token}), body, NOW))


def public(name: str) -> bytes | None:
    return None if name == "secret" else pem(name)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_proves_the_body_whose_hash_it_holds_and_no_other(algorithm: str) -> None:
    name = KEYS[algorithm]
    authenticator = source(rule(algorithms=[algorithm]), public=public(name))
    token = signed(algorithm, name, {CLAIM: bound(BODY)}, kid="any")
    assert refusal(authenticator, token) is None
    for forged in (BODY + b" ", b"", b"[]", BODY[:-1]):
        assert refusal(authenticator, token, forged) == f"the hash in its {HEADER} is not that of this body"


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_of_another_key_or_a_changed_one_is_refused(algorithm: str) -> None:
    name = KEYS[algorithm]
    authenticator = source(rule(), public=public(name), tokens=("another-secret-of-some-length-1234",))
    other = name if name == "secret" else f"{name}-2"
    assert refusal(authenticator, signed(algorithm, other, {CLAIM: bound(BODY)}))
    right = signed(algorithm, name, {CLAIM: bound(b"one")})
    head, _, tail = right.split(".")
    forged = signed(algorithm, other, {CLAIM: bound(BODY)}).split(".")[1]
    assert refusal(source(rule(), public=public(name)), f"{head}.{forged}.{tail}")
    assert refusal(source(rule(), public=public(name)), f"{head}.{forged}.")


@pytest.mark.parametrize("algorithm", KEYS)
def test_an_algorithm_that_the_table_does_not_name_is_refused(algorithm: str) -> None:
    name = KEYS[algorithm]
    others = [one for one in KEYS if one != algorithm]
    token = signed(algorithm, name, {CLAIM: bound(BODY)})
    assert refusal(source(rule(algorithms=others), public=public(name)), token)


@pytest.mark.parametrize("name", ["rsa", "p256", "ed25519"])
@pytest.mark.parametrize(
    "algorithms", [list(KEYS), ["HS256"], ["RS256", "ES256", "EdDSA"]], ids=["all", "HS", "public"]
)
def test_a_public_key_is_never_taken_for_a_secret(name: str, algorithms: list[str]) -> None:
    text = pem(name)
    known = [text, text.strip(), json.dumps(jwk(name)).encode(), text.replace(b"\n", b"\r\n")]
    for authenticator in (
        source(rule(algorithms=algorithms), public=text),
        source(rule(algorithms=algorithms), public=json.dumps({"keys": [jwk(name)]}).encode()),
        # Nor where somebody has set one as the token.
        source(rule(algorithms=algorithms), public=text, tokens=(text.decode(),)),
    ):
        for secret in known:
            for header in (
                {"alg": "HS256"},
                {"alg": "HS256", "kid": name},
                {"alg": "RS256"},
                {"alg": "HS256", "jwk": jwk(name)},
            ):
                assert refusal(authenticator, by_hand(header, {CLAIM: bound(BODY)}, secret))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS1", "HS", "RS256 ", "dir"])
def test_a_token_without_a_signature_is_refused(algorithm: str) -> None:
    assert refusal(source(rule(), public=pem("rsa")), unsigned(algorithm, {CLAIM: bound(BODY)}))
    assert refusal(source(rule(body_hash=None), public=pem("rsa")), unsigned(algorithm, {}))


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "e30.e30.e30", "x" * 100_000, "\udce9..", "e30=.e30.AAAA"])
def test_what_is_no_token_is_refused(text: str) -> None:
    assert refusal(source(rule(), public=pem("rsa")), text)


def test_a_key_that_a_token_brings_along_verifies_nothing() -> None:
    token = signed("ES256", "p256-2", {CLAIM: bound(BODY)}, jwk=jwk("p256-2"), jku="https://evil.example/keys")
    assert refusal(source(rule(), public=pem("p256")), token) == f"its {HEADER} is not signed with a key of the source"


def test_what_else_stands_in_the_header_of_a_token_does_not_matter_unless_it_is_critical() -> None:
    authenticator = source(rule())
    assert (
        refusal(authenticator, by_hand({"alg": "HS256", "gty": ["x"]}, {CLAIM: bound(BODY)}, SECRET.encode())) is None
    )
    for critical in (["gty"], ["exp"], "b64"):
        header = {"alg": "HS256", "gty": ["x"], "exp": 1, "crit": critical}
        assert refusal(authenticator, by_hand(header, {CLAIM: bound(BODY)}, SECRET.encode()))


def test_a_token_without_the_hash_that_the_table_asks_for_is_refused() -> None:
    authenticator = source(rule())
    for claims in ({}, {CLAIM: None}, {CLAIM: 5}, {CLAIM: [bound(BODY)]}, {"body_sha256": bound(BODY)}):
        told = refusal(authenticator, signed("HS256", "secret", claims))
        assert told == f"its {HEADER} is a token of the source without the hash of the body ({CLAIM})"
    for text in ("", "=", "x", bound(BODY, encoding="hex"), bound(BODY, "sha512"), "é"):
        assert refusal(authenticator, signed("HS256", "secret", {CLAIM: text}))


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("encoding", ["base64", "base64url", "hex"])
def test_the_hash_is_made_and_written_as_the_table_says(digest: str, encoding: str) -> None:
    authenticator = source(rule(body_hash={"claim": CLAIM, "digest": digest, "encoding": encoding}))
    # Some bodies whose hashes have both letters in which base64 and base64url differ.
    for body in (b"%d" % number for number in range(40)):
        text = bound(body, digest, encoding)
        assert refusal(authenticator, signed("HS256", "secret", {CLAIM: text}), body) is None
        assert refusal(authenticator, signed("HS256", "secret", {CLAIM: text.rstrip("=")}), body) is None
        assert refusal(authenticator, signed("HS256", "secret", {CLAIM: text}), body + b"0")


def test_the_body_is_read_only_for_a_token_that_a_key_of_the_source_signed() -> None:
    authenticator = source(rule(), public=pem("rsa"))
    for token, asks in [
        (signed("RS256", "rsa", {CLAIM: bound(BODY)}), True),
        (signed("HS256", "secret", {CLAIM: bound(BODY)}), True),
        (signed("RS256", "rsa-2", {CLAIM: bound(BODY)}), False),
        (signed("RS256", "rsa", {CLAIM: bound(BODY), "exp": NOW - 100}), False),
        (unsigned("none", {CLAIM: bound(BODY)}), False),
    ]:
        judgement = authenticator.judge(CIMultiDict({HEADER: token}), NOW)
        assert (bool(judgement.signatures), judgement.refusal is None, judgement.proven) == (asks, asks, False)


def test_a_long_body_is_hashed_whole() -> None:
    body = b"x" * 3_000_001
    token = signed("HS256", "secret", {CLAIM: bound(body)})
    assert refusal(source(rule()), token, body) is None
    assert refusal(source(rule()), token, body[:-1] + b"y")


@pytest.mark.parametrize(
    ("wanted", "claims", "holds"),
    [
        ({"audience": "us"}, {"aud": "us"}, True),
        ({"audience": "us"}, {"aud": ["them", "us"]}, True),
        ({"audience": ["us", "we"]}, {"aud": "we"}, True),
        ({"audience": "us"}, {"aud": "them"}, False),
        ({"audience": "us"}, {"aud": []}, False),
        ({"audience": "us"}, {"aud": {"us": 1}}, False),
        ({"audience": "us"}, {}, False),
        ({"audience": "us"}, {"aud": "US"}, False),
        ({}, {"aud": "them"}, True),
        ({"issuer": "https://shop.example"}, {"iss": "https://shop.example"}, True),
        ({"issuer": ["a", "b"]}, {"iss": "b"}, True),
        ({"issuer": "a"}, {"iss": ["a"]}, False),
        ({"issuer": "a"}, {"iss": "ab"}, False),
        ({"issuer": "a"}, {}, False),
        ({"tolerance": 10}, {"exp": NOW - 9}, True),
        ({"tolerance": 10}, {"exp": NOW - 11}, False),
        ({"tolerance": 0}, {"exp": NOW}, False),
        ({"tolerance": 0}, {"exp": NOW + 1, "nbf": NOW, "iat": NOW}, True),
        ({"tolerance": 10}, {"nbf": NOW + 11}, False),
        ({"tolerance": 10}, {"iat": NOW + 11}, False),
        ({"tolerance": 10}, {"iat": "today"}, False),
    ],
    ids=str,
)
def test_a_token_is_meant_for_us_by_its_issuer_and_now(
    wanted: dict[str, Any], claims: dict[str, Any], holds: bool
) -> None:
    for algorithm, name in (("HS256", "secret"), ("ES256", "p256")):
        token = signed(algorithm, name, {CLAIM: bound(BODY), **claims})
        assert (refusal(source(rule(**wanted), public=public(name)), token) is None) is holds


def test_a_token_may_be_the_bearer_of_the_request() -> None:
    authenticator = source(
        rule(header="Authorization", body_hash=BodyHash(claim=CLAIM, encoding="hex")), public=pem("rsa")
    )
    token = signed("RS256", "rsa", {CLAIM: bound(BODY, encoding="hex")})
    assert refusal(authenticator, f"Bearer {token}", header="Authorization") is None
    assert refusal(authenticator, f"bearer  {token}", header="authorization") is None
    assert refusal(authenticator, "Bearer admin", header="Authorization") is None
    for value in (token, f"Basic {token}", f"Bearer {token[:-4]}AAAA", "Bearer wrong", f"Bearer {SECRET}"):
        assert refusal(authenticator, value, header="Authorization")
    assert refusal(authenticator, f"Bearer {token}", b"[]", header="Authorization")
    twice = CIMultiDict([("Authorization", f"Bearer {token}")] * 2)
    assert asyncio.run(authenticator.refusal(twice, BODY, NOW))


def test_a_token_of_an_unknown_key_is_refused_though_its_signature_is_right() -> None:
    authenticator = source(rule(), public=json.dumps({"keys": [jwk("rsa"), jwk("rsa-2")]}).encode())
    for kid, holds in (("rsa", True), ("rsa-2", False), ("rsa-3", False), ("", False)):
        assert (refusal(authenticator, signed("RS256", "rsa", {CLAIM: bound(BODY)}, kid=kid)) is None) is holds
    assert refusal(authenticator, signed("RS256", "rsa-2", {CLAIM: bound(BODY)})) is None


def test_the_operator_is_told_that_there_are_no_public_keys() -> None:
    told = refusal(source(rule()), signed("RS256", "rsa", {CLAIM: bound(BODY)}))
    assert told == f"its {HEADER} is signed with a private key (RS256), and the source has no public_keys"


@pytest.mark.parametrize("header", [HEADER, "Authorization"])
@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256", "EdDSA"])
def test_a_wrong_token_is_tried_with_as_many_keys_for_every_name(
    monkeypatch: pytest.MonkeyPatch, algorithm: str, header: str
) -> None:
    tried: list[object] = []
    decode: Callable[..., Any] = jwt.decode

    def counted(*arguments: Any, **options: Any) -> Any:
        tried.append(arguments)
        return decode(*arguments, **options)

    monkeypatch.setattr(jwt, "decode", counted)
    credentials = [JwtCredential(jwt=rule(header=header))]
    decoys = Decoys(credentials, 3)
    several = PublicKeys(read_keys(json.dumps({"keys": [jwk("rsa-2"), jwk("rsa-3"), jwk("p256-2")]}).encode()))
    name = KEYS[algorithm]
    token = signed(algorithm, f"{name}-9" if name != "secret" else name, {CLAIM: bound(BODY)})
    numbers = set()
    for own, tokens, keys in [
        (credentials, ("one-token",), None),
        (credentials, ("one-token", "another"), several),
        (["bearer"], ("one-token",), None),
        ([], (), None),
    ]:
        authenticator = Authenticator(own, tokens, lambda _: False, decoys, keys)  # type: ignore[arg-type]
        tried.clear()
        presented = CIMultiDict({header: f"Bearer {token}" if header == "Authorization" else token})
        assert authenticator.judge(presented, NOW).refusal is not None
        numbers.add(len(tried))
    assert numbers == ({3} if algorithm == "HS256" else {4})


async def test_a_service_takes_what_is_signed_and_warns_of_tokens_that_cover_no_body(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    for name, body_hash in (("acme", f", body_hash: {{claim: {CLAIM}}}"), ("other", "")):
        auth = f"auth: [{{jwt: {{header: {HEADER}, algorithms: [ES256]{body_hash}}}}}]\n"
        write_table(tables, MAPPING.replace("acme", name) + auth, name)
    (tables / "types.yaml").write_text(TYPES)
    (tmp_path / "keys.pem").write_bytes(pem("p256"))
    sources = [{"name": one, "provider": one, "public_keys": str(tmp_path / "keys.pem")} for one in ("acme", "other")]
    with structlog.testing.capture_logs() as logs:
        async with opened(tmp_path / "data", sources=sources, mappings={"path": [tables]}) as service:
            body = b'{"id": "1", "kind": "in", "user": "anna"}'
            token = signed("ES256", "p256", {CLAIM: bound(body)})
            async with ClientSession(service.service.url) as sender:
                for source, sent, status in (("acme", body, 202), ("acme", body + b" ", 401), ("nosuch", body, 401)):
                    headers = {HEADER: token, "Content-Type": "application/json"}
                    async with sender.post(f"/ingest/{source}", data=sent, headers=headers) as response:
                        assert response.status == status
    warned = [one["source"] for one in logs if one["event"] == "signed_token_does_not_cover_body"]
    assert warned == ["other"]
    refused = [(one["source"], one["why"]) for one in logs if one["event"] == "request_refused"]
    assert refused[0] == ("acme", f"the hash in its {HEADER} is not that of this body")
