"""The data folder: who is using it, which tokens were generated for it, and where its service listens."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapter.errors import ConfigError
from adapter.tokens import Tokens, tokens_from_json

_LOCK = "lock"
_TOKENS = "tokens.json"
_SERVICE = "service.json"
#: The private keys that sign statements, and tokens to receivers.
STATEMENT_KEY, TOKEN_KEY = "statement-key.json", "token-key.json"


@contextmanager
def lock_folder(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Make the folder if it is not there, and hold it for this process alone; a killed holder holds nothing.
    ``patience``: seconds to wait for a holder that is about to end.

    Raises:
        ConfigError: it cannot be used, or another process holds it; says which.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be used as data folder: {error.strerror}; name another one") from None
    try:
        if not _locked(descriptor, patience):
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            url = service_url(folder)
            where = f"process {holder}, listening on {url}" if url else f"process {holder}"
            raise ConfigError(
                f"{folder}: is in use by another idp-adapter ({where}); stop it, take its place (serve --take-over), "
                "or use another folder"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        (folder / _SERVICE).unlink(missing_ok=True)  # left behind by one that was killed
        yield
    finally:
        os.close(descriptor)


def in_use(folder: Path) -> bool:
    """Whether a service holds the folder."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def announced(folder: Path, url: str) -> Iterator[None]:
    """Leave word of where the service of this folder listens, as long as it does."""
    write_private(folder / _SERVICE, {"url": url, "process": os.getpid()})
    try:
        yield
    finally:
        (folder / _SERVICE).unlink(missing_ok=True)


def service_url(folder: Path) -> str | None:
    """Where the service that holds the folder listens; ``None`` if it did not say (it is starting or stopping)."""
    url = _read(folder / _SERVICE).get("url")
    return url if isinstance(url, str) else None


def read_tokens(folder: Path) -> Tokens:
    """The tokens that were generated for this folder so far.

    Raises:
        ConfigError: the file is not what this program wrote.
    """
    try:
        return tokens_from_json(_read(folder / _TOKENS))
    except ValueError as error:
        raise ConfigError(f"{folder / _TOKENS}: {error}; remove it to have new ones made") from None


def write_tokens(folder: Path, tokens: Tokens) -> None:
    """Store tokens for their owner's eyes only (mode 0600), in the place of those that are there.

    Raises:
        ConfigError: they cannot be written.
    """
    try:
        write_private(folder / _TOKENS, tokens.as_json())
    except OSError as error:
        raise ConfigError(f"{folder / _TOKENS}: cannot be written: {error.strerror}") from None


def make_tokens(folder: Path, *, admin: bool, sources: Sequence[str]) -> Tokens:
    """The folder's tokens, with those that are missing made: the administrator's if ``admin``, and one for each key in
    ``sources``. They are stored for their owner's eyes only (mode 0600).

    Raises:
        ConfigError: the file is not what this program wrote, or cannot be written.
    """
    known = read_tokens(folder)
    tokens = known.with_missing(admin=admin, sources=sources)
    file = folder / _TOKENS
    if tokens != known:
        write_tokens(folder, tokens)
    elif file.exists():
        try:
            file.chmod(0o600)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
    return tokens


def read_private_key(folder: Path, name: str) -> dict[str, object] | None:
    """One of the private keys, as a JWK; ``None``: none was made.

    Raises:
        ConfigError: the file cannot be read.
    """
    return _read(folder / name) or None


def write_private_key(folder: Path, name: str, key: dict[str, object]) -> None:
    """Store it for its owner's eyes only (mode 0600).

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        write_private(folder / name, key)
    except OSError as error:
        raise ConfigError(f"{folder / name}: cannot be written: {error.strerror}") from None


def _locked(descriptor: int, patience: float) -> bool:
    """Take the lock; tried again for a moment at least, since `in_use` holds it for an instant."""
    deadline = time.monotonic() + max(patience, 0.05)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def _read(file: Path) -> dict[str, object]:
    try:
        stored = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}; remove it to have it made anew") from None
    return stored if isinstance(stored, dict) else {}


def write_private(file: Path, content: dict[str, object]) -> None:
    """Replace a file by JSON, at once; it is its owner's alone (mode 0600) from its first moment.

    Raises:
        OSError: it cannot be written.
    """
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=2)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
