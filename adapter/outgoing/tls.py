"""TLS of requests that the service makes: whom it trusts, and the certificate it shows."""

from __future__ import annotations

import functools
import os
import ssl

from pydantic import SecretStr

from adapter.errors import ConfigError
from adapter.outgoing.pem import LONGEST, read_certificates
from adapter.outgoing.settings import HttpSettings, TlsSettings


def make_tls(settings: HttpSettings) -> ssl.SSLContext | None:
    """The context that the settings ask for; ``None``: the system's authorities and no certificate.

    The files are read here, once.

    Raises:
        ConfigError: a file cannot be read, or holds something else.
    """
    tls = settings.tls or TlsSettings()
    if all(one is None for one in (settings.ca_file, settings.certificate_file, tls.ca, tls.certificate)):
        return None
    # Only what stands around certificates, for people, is not ASCII, and the library refuses that.
    ca = None if tls.ca is None else tls.ca.get_secret_value().encode("ascii", "ignore").decode()
    try:
        context = ssl.create_default_context(cafile=settings.ca_file, cadata=ca)
    except OSError as error:
        where = "tls.ca" if ca is not None else f"ca_file: {settings.ca_file}"
        raise ConfigError(f"{where}: no PEM file of certificates: {_said(error)}") from None
    if tls.certificate is not None and tls.key is not None:
        _load(context, tls.certificate, tls.key, settings.key_password)
    if settings.certificate_file is not None:
        password = settings.key_password
        try:
            context.load_cert_chain(
                settings.certificate_file,
                settings.key_file,
                # Never asked for on a terminal.
                password=lambda: "" if password is None else password.get_secret_value(),
            )
        except OSError as error:
            files = " and ".join(str(file) for file in (settings.certificate_file, settings.key_file) if file)
            raise ConfigError(
                f"certificate_file: {files}: no certificate in PEM with its key, or another key_password: "
                f"{_said(error)}"
            ) from None
    return context


def _load(context: ssl.SSLContext, certificate: SecretStr, key: SecretStr, password: SecretStr | None) -> None:
    """Take up a certificate that is given as text. The library reads files alone: it gets one of memory, which has no
    name, and lies on no disk."""
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as stream:
            stream.write(f"{certificate.get_secret_value()}\n{key.get_secret_value()}\n".encode())
        context.load_cert_chain(
            f"/proc/self/fd/{descriptor}", password=lambda: "" if password is None else password.get_secret_value()
        )
    except OSError as error:
        raise ConfigError(f"tls: no certificate in PEM with its key, or another key_password: {_said(error)}") from None
    finally:
        os.close(descriptor)


def ends_of(settings: HttpSettings) -> dict[str, int]:
    """When what is given as text or in files ends, epoch milliseconds: `certificate`, the one that is shown to
    receivers; `ca`, the last one of the authorities. What cannot be read is left out: it is told where it is used."""
    found: dict[str, int] = {}
    for name, text, file in (
        ("certificate", None if settings.tls is None else settings.tls.certificate, settings.certificate_file),
        ("ca", None if settings.tls is None else settings.tls.ca, settings.ca_file),
    ):
        try:
            if text is not None:
                ends = _ends(text.get_secret_value().encode())
            elif file is not None:
                ends = _ends(file.read_bytes()[:LONGEST])
            else:
                continue
        except (OSError, ValueError):
            continue
        found[name] = ends[0] if name == "certificate" else max(ends)
    return found


@functools.lru_cache(maxsize=1024)
def _ends(pem: bytes) -> list[int]:
    return [int(one.not_valid_after_utc.timestamp() * 1000) for one in read_certificates(pem)]


def _said(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
