"""TLS of requests that the service makes: whom it trusts, and the certificate it shows."""

from __future__ import annotations

import ssl

from adapter.errors import ConfigError
from adapter.outgoing.settings import HttpSettings


def make_tls(settings: HttpSettings) -> ssl.SSLContext | None:
    """The context that the settings ask for; ``None``: the system's authorities and no certificate.

    The files are read here, once.

    Raises:
        ConfigError: a file cannot be read, or holds something else.
    """
    if settings.ca_file is None and settings.certificate_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise ConfigError(f"ca_file: {settings.ca_file}: no PEM file of certificates: {_said(error)}") from None
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


def _said(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
