"""The services that somebody has logged in to: addresses and tokens, in a file that is its owner's alone."""

from __future__ import annotations

import os
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from adapter.errors import ConfigError
from adapter.folder import write_private


@dataclass(frozen=True)
class Login:
    """A service, and the token for it."""

    url: str
    token: str = field(repr=False)
    #: PEM file of the authorities of its certificate, if these are not the system's.
    ca: str | None = None


@dataclass
class Logins:
    """All of them, by name."""

    by_name: dict[str, Login] = field(default_factory=dict)
    #: The one that commands use if nothing else is said.
    used: str | None = None

    def find(self, name: str) -> Login:
        """The login of a name.

        Raises:
            ConfigError: there is none.
        """
        if name not in self.by_name:
            known = ", ".join(self.by_name) or "none"
            raise ConfigError(f"no login is called {name}; there are: {known}. Make one: idp-adapter login --url URL")
        return self.by_name[name]


def logins_file() -> Path:
    """Where they are kept: below ``XDG_CONFIG_HOME``, which is ``~/.config`` if it is not set (XDG Base Directory
    Specification).

    Raises:
        ConfigError: there is no home directory.
    """
    given = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        folder = Path(given) if given and Path(given).is_absolute() else Path.home() / ".config"
    except RuntimeError:
        raise ConfigError("there is no home directory to keep logins in; set XDG_CONFIG_HOME") from None
    return folder / "idp-adapter" / "logins.json"


def read_logins() -> Logins:
    """What is kept; nothing if there is no file, or it is another user's (as with sudo).

    Raises:
        ConfigError: others may read it, or it is not what this program wrote.
    """
    try:
        file = logins_file()
    except ConfigError:
        return Logins()
    try:
        with file.open("rb") as stream:
            found = os.fstat(stream.fileno())
            if found.st_uid != os.geteuid():
                return Logins()
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise ConfigError(f"{file}: others may read or write it; change that: chmod 600 {file}")
            content: Any = orjson.loads(stream.read())
        by_name = {name: _login(**one) for name, one in content["logins"].items()}
        used: Any = content["used"]
        return Logins(by_name, used if used in by_name else None)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return Logins()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}; remove it, and log in again") from None


def _login(url: str, token: str, ca: str | None) -> Login:
    if not isinstance(url, str) or not isinstance(token, str) or not isinstance(ca, str | None):
        raise TypeError("an address, a token or a file is no text")
    return Login(url, token, ca)


def write_logins(logins: Logins) -> None:
    """Keep them, for their owner's eyes only (mode 0600).

    Raises:
        ConfigError: they cannot be written.
    """
    file = logins_file()
    content: dict[str, object] = {
        "used": logins.used,
        "logins": {name: asdict(one) for name, one in logins.by_name.items()},
    }
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, content)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
