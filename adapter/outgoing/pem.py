"""Certificates and keys as PEM text: whether they are what they should be. No message repeats them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:  # the library is imported where there is a certificate
    from cryptography.x509 import Certificate

#: Characters of one of them.
LONGEST = 32_768
#: Bits of a private key.
LONGEST_KEY = 8192


def checked_certificates(text: SecretStr) -> SecretStr:
    """
    Raises:
        ValueError: it is no PEM of certificates.
    """
    read_certificates(text.get_secret_value().encode())
    return text


def read_certificates(pem: bytes) -> list[Certificate]:
    """The certificates of a PEM.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    from cryptography.x509 import load_pem_x509_certificates

    if len(pem) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    try:
        return load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError("is no PEM of certificates: -----BEGIN CERTIFICATE----- …") from None


def check_pair(certificate: SecretStr, key: SecretStr, password: SecretStr | None) -> None:
    """Whether a private key is that of the first certificate.

    Raises:
        ValueError: it is not, or cannot be read.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem, secret = key.get_secret_value().encode(), None if password is None else password.get_secret_value().encode()
    if len(pem) > LONGEST:
        raise ValueError(f"tls.key: is longer than {LONGEST} characters")
    try:
        # Whether its numbers are primes is not ours to find out: that takes seconds, and of a made-up key hours.
        private = load_pem_private_key(pem, secret, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("tls.key: is no PEM of a private key, or key_password does not open it") from None
    if getattr(private, "key_size", 0) > LONGEST_KEY:
        raise ValueError(f"tls.key: has more than {LONGEST_KEY} bits")
    [first, *_] = read_certificates(certificate.get_secret_value().encode())
    if private.public_key() != first.public_key():
        raise ValueError("tls.key: belongs to another certificate than the first one of tls.certificate")
