"""Signatures of what is posted: the headers by which a receiver knows who sent a body, and that it is whole."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence

#: The headers that prove who sent a body: message id, epoch seconds and body in, headers out.
Signer = Callable[[str, int, bytes], dict[str, str]]


def read_standard_secret(text: str) -> bytes:
    """The key in a ``whsec_…`` secret.

    Raises:
        ValueError: it is not one; the text does not repeat it.
    """
    prefix, _, encoded = text.partition("_")
    try:
        key = base64.b64decode(encoded, validate=True) if prefix == "whsec" else b""
    except binascii.Error:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("a Standard Webhooks secret is whsec_ and the base64 of 24 to 64 random bytes")
    return key


def make_signer(signature: str, secrets: Sequence[str]) -> Signer:
    """How requests are signed with these secrets; without one only Standard Webhooks' id and time are sent.

    Raises:
        ValueError: a secret is not of the form that the signature asks for.
    """
    if signature == "standard":
        keys = [read_standard_secret(secret) for secret in secrets]
        return lambda id, timestamp, body: _sign_standard(keys, id, timestamp, body)
    key = secrets[0].encode()
    digest = signature.removeprefix("phasetwo-")
    return lambda id, timestamp, body: {"X-Keycloak-Signature": hmac.digest(key, body, digest).hex()}


def _sign_standard(keys: Sequence[bytes], id: str, timestamp: int, body: bytes) -> dict[str, str]:
    headers = {"webhook-id": id, "webhook-timestamp": str(timestamp)}
    if keys:
        signed = b"%b.%d.%b" % (id.encode(), timestamp, body)
        headers["webhook-signature"] = " ".join(
            "v1," + binascii.b2a_base64(hmac.digest(key, signed, "sha256"), newline=False).decode() for key in keys
        )
    return headers
