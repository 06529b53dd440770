"""The certificates that the receiver shows: a good one, and some that no sender may take."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

#: Which there are.
KINDS = ("good", "wrong name", "expired", "self-signed")


def make_certificates(folder: Path, host: str) -> tuple[Path, dict[str, ssl.SSLContext]]:
    """The file of an authority, PEM, which senders are to trust, and TLS for each of `KINDS`. ``host``: the address of
    the receiver, which the good one is for."""
    authority = ec.generate_private_key(ec.SECP256R1())
    own_name = _named("authority of the hostile receiver")
    now = datetime.now(UTC)
    certificate = (
        _build(own_name, own_name, authority, now)
        .add_extension(x509.BasicConstraints(True, 0), True)
        .sign(authority, hashes.SHA256())
    )
    file = folder / "authority.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    right = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host)), x509.DNSName("localhost")])
    wrong = x509.SubjectAlternativeName([x509.DNSName("other.example")])
    contexts = {}
    for kind in KINDS:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, signer = (_named(kind), key) if kind == "self-signed" else (own_name, authority)
        begin = now - timedelta(days=30) if kind == "expired" else now
        made = (
            _build(_named(kind), issuer, key, begin)
            .add_extension(wrong if kind == "wrong name" else right, critical=False)
            .sign(signer, hashes.SHA256())
        )
        both = folder / f"{kind.replace(' ', '-')}.pem"
        both.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        contexts[kind] = context
    return file, contexts


def _build(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime
) -> x509.CertificateBuilder:
    number, end = x509.random_serial_number(), begin + timedelta(days=7)
    return x509.CertificateBuilder(issuer, name, key.public_key(), number, begin - timedelta(hours=1), end)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
