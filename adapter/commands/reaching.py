"""Which service a command asks, and with which token; and what it means when that does not answer."""

from __future__ import annotations

import os
import re
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientPayloadError,
)
from yarl import URL

from adapter.commands.logins import Login, read_logins
from adapter.commands.options import At
from adapter.errors import ConfigError
from adapter.outgoing.settings import HttpSettings
from adapter.outgoing.tls import make_tls
from adapter.settings import PREFIX, is_loopback

#: Variables that name the service on this machine.
_LOCAL = (f"{PREFIX}CONFIG", f"{PREFIX}DATA__FOLDER", f"{PREFIX}STORE__URL")
#: As RFC 6750 writes tokens, and some more: all that a header may hold.
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True)
class Remote:
    """A service that is asked by its address."""

    #: Ends with a slash.
    url: str
    token: str = field(repr=False)
    ca: Path | None = None

    @property
    def is_plain(self) -> bool:
        """Whether what is sent can be read on the way."""
        url = URL(self.url)
        return url.scheme == "http" and not is_loopback(url.host or "")

    def tls(self) -> ssl.SSLContext | bool:
        """Raises:
        ConfigError: the file of authorities cannot be read.
        """
        return make_tls(HttpSettings(ca_file=self.ca)) or True


def find_remote(at: At) -> Remote | None:
    """The service that options, environment or a login name, the earlier before the later; ``None``: the one on this
    machine.

    Raises:
        ConfigError: what is named is wrong, or there is no token for it.
    """
    if at.url is not None and at.login is not None:
        raise ConfigError("--url and --login name a service each; give one of them")
    is_elsewhere = at.login is None and at.data is None and at.config is None
    if (at.token or at.token_file or at.ca) and at.url is None and not (is_elsewhere and _variable("URL")):
        raise ConfigError(f"--token, --token-file and --ca belong to --url, which is missing, or to {PREFIX}URL")
    if at.url is not None:
        return _at(at.url, at, in_environment=at.url.rstrip("/") == _variable("URL", "").rstrip("/"))
    if at.login is not None:
        return _of(read_logins().find(at.login))
    if at.data is not None or at.config is not None:
        return None
    if url := _variable("URL"):
        return _at(url, at, in_environment=True)
    if _variable("TOKEN") or _variable("TOKEN_FILE"):
        raise ConfigError(f"{PREFIX}TOKEN is set, but not whose: set {PREFIX}URL too, or give --url")
    if name := _variable("LOGIN"):
        return _of(read_logins().find(name))
    if any(os.environ.get(name) for name in _LOCAL):
        return None
    logins = read_logins()
    return None if logins.used is None else _of(logins.find(logins.used))


def read_url(text: str) -> str:
    """The address of a service, with a slash at its end.

    Raises:
        ConfigError: it is none.
    """
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
        raise ConfigError(f"{text}: not the address of a service; write https://HOST or https://HOST:PORT")
    if url.user is not None or url.password is not None:
        raise ConfigError(f"{url.with_user(None)}: without a user and a password; the token is given apart")
    return f"{str(url).rstrip('/')}/"


def read_token(file: str) -> str:
    """The token in a file; ``-`` is standard input.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    try:
        text = sys.stdin.readline() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    return checked_token(text, "standard input" if file == "-" else file)


def checked_token(text: str, place: str) -> str:
    """The token of a text.

    Raises:
        ConfigError: it is none; says where it stood, and not what it was.
    """
    if not _TOKEN.fullmatch(text.strip()):
        raise ConfigError(f"{place}: holds no token: one line without blanks")
    return text.strip()


def told(error: ClientError | TimeoutError | ValueError) -> str:
    """Why there is no answer, for people, and what to do."""
    match error:
        case ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
            return (
                f"{error.host}:{error.port}: its certificate is not trusted: {reason}; if a private authority made it, "
                "name that one's certificate: --ca FILE"
            )
        case ClientConnectorSSLError():
            return f"{error.host}:{error.port}: no TLS: {error.os_error}; if it is plain http there, write http://"
        case ClientConnectorDNSError():
            return f"{error.host}: there is no such host, or its name cannot be looked up now"
        case ClientConnectorError():
            why = os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
            return f"{error.host}:{error.port}: {why}; does the service run there?"
        case ClientPayloadError():
            return "the service broke off; its log says why"
        case TimeoutError():
            return "the service does not answer in time"
        case ClientError():
            return f"the service does not answer: {error}"
    return "what came is no JSON; is this the address of an idp-adapter?"


def _at(text: str, at: At, *, in_environment: bool) -> Remote:
    url = read_url(text)
    known = [one for one in read_logins().by_name.values() if one.url == url]
    ca = at.ca or (Path(_variable("CA")) if _variable("CA") else None)
    if ca is None and known and known[0].ca:
        ca = Path(known[0].ca)
    token = _token(at, in_environment=in_environment or not _variable("URL"))
    if token is None and known:
        token = known[0].token
    if token is None:
        raise ConfigError(
            f"{url}: there is no token for it; log in: idp-adapter login --url {url}, or give --token-file, or set "
            f"{PREFIX}TOKEN"
        )
    return Remote(url, token, ca)


def _token(at: At, *, in_environment: bool) -> str | None:
    """The token of options, or of the environment: which is of the service there, if one is named."""
    if at.token is not None and at.token_file is not None:
        raise ConfigError("--token and --token-file give a token each; give one of them")
    if at.token is not None:
        return checked_token(at.token, "--token")
    if at.token_file is not None:
        return read_token(at.token_file)
    if in_environment and (token := _variable("TOKEN")):
        return checked_token(token, f"{PREFIX}TOKEN")
    if in_environment and (file := _variable("TOKEN_FILE")):
        return read_token(file)
    return None


def _of(login: Login) -> Remote:
    return Remote(login.url, login.token, Path(login.ca) if login.ca else None)


def _variable(name: str, otherwise: str = "") -> str:
    return os.environ.get(f"{PREFIX}{name}") or otherwise
