"""Statements are signed, and nobody changes one unnoticed."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import orjson
import pytest

from adapter.errors import ConfigError
from adapter.folder import STATEMENT_KEY
from adapter.reconciliation.comparison import Comparison, Result
from adapter.reconciliation.keys import open_key
from adapter.reconciliation.statement import (
    NotSigned,
    Statement,
    digest_of,
    make_key,
    read_key,
    read_statement,
    state,
    statement_event,
    verified,
)

KEY = make_key()
FOUND = Comparison(
    source="kc",
    realm="acme \u202e",
    kind="events",
    since=0,
    to=3_600_000,
    result=Result.COMPLETE,
    on_server=2,
    in_log=2,
)


def made() -> tuple[bytes, str, Statement]:
    entry = statement_event(state(FOUND, "https://id.example/", 4_000_000, ["b", "a"], True), KEY)
    assert entry.event is not None
    return read_statement(orjson.loads(entry.event))


def test_a_statement_is_verified_by_the_thumbprint_of_its_key() -> None:
    text, signature, statement = made()
    assert verified(text, signature, {KEY.thumbprint}) == KEY.thumbprint
    assert (statement.result, statement.on_server, statement.realm) == (Result.COMPLETE, 2, "acme \u202e")
    # As RFC 8785 has it: sorted, without blanks, UTF-8 as it is.
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_statement_that_was_changed_is_refused() -> None:
    text, signature, _ = made()
    with pytest.raises(NotSigned, match="was changed"):
        verified(text.replace(b'"on_server":2', b'"on_server":3'), signature, {KEY.thumbprint})


def test_the_key_of_the_signature_alone_proves_nothing() -> None:
    text, _, _ = made()
    stranger = make_key()
    with pytest.raises(NotSigned, match="is not one that is trusted"):
        verified(text, stranger.sign(text), {KEY.thumbprint})
    # The stranger's signature under the name of the trusted key.
    head, _, rest = stranger.sign(text).partition("..")
    header = json.loads(base64.urlsafe_b64decode(head + "==")) | {"kid": KEY.thumbprint}
    forged = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    with pytest.raises(NotSigned):
        verified(text, f"{forged}..{rest}", {KEY.thumbprint})


@pytest.mark.parametrize("signature", ["", "..", "a..b", "e30..e30", "é..", "W10..", "eyJqd2siOnt9fQ.."])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    with pytest.raises(NotSigned):
        verified(b"{}", signature, {KEY.thumbprint})


@pytest.mark.parametrize("event", [None, [], {}, {"details": {"statement": "{}", "signature": ""}}, {"details": None}])
def test_an_event_without_a_statement_is_refused(event: object) -> None:
    with pytest.raises(NotSigned):
        read_statement(event)


def test_the_digest_is_what_a_shell_gives() -> None:
    assert digest_of(["b", "a"]) == hashlib.sha256(b"a\nb\n").hexdigest()
    assert digest_of([]) == hashlib.sha256().hexdigest()


def test_the_key_is_made_once_for_its_owners_eyes(tmp_path: Path) -> None:
    key = open_key(None, tmp_path)
    file = tmp_path / STATEMENT_KEY
    assert file.stat().st_mode & 0o777 == 0o600
    assert open_key(None, tmp_path).thumbprint == key.thumbprint
    assert open_key(json.dumps(key.private), tmp_path / "elsewhere").thumbprint == key.thumbprint
    assert key.private["d"] not in json.dumps(key.public)


@pytest.mark.parametrize("text", ["", "{}", '{"kty": "OKP", "crv": "Ed25519", "x": "eA", "d": "secret-part"}'])
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"statements\.key: must be a private key") as refused:
        open_key(text, tmp_path)
    assert "secret-part" not in str(refused.value)
    (tmp_path / STATEMENT_KEY).write_text('{"crv": "Ed25519", "d": "x"}')
    with pytest.raises(ConfigError, match="restore it"):
        open_key(None, tmp_path)


def test_a_private_key_of_another_public_one_is_refused() -> None:
    mixed = make_key().private | {"x": KEY.public["x"]}
    with pytest.raises(ConfigError):
        read_key(mixed, "statements.key")
