"""Logins as a real Keycloak sends them: one that was captured, made new with ids, people and addresses of their own."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

_CAPTURE = Path(__file__).parent.parent / "captures" / "keycloak-26.6.4" / "push-http.ndjson"

USERS = 5_000
CLIENTS = 20
ADDRESSES = 20_000
#: Time of the first login, epoch milliseconds, and the time between two of them.
BEGIN = 1_780_000_000_000
STEP = 40

#: What stands in the place of an id and a time that a load generator fills in: as long as they are.
ID_MARK = "#" * 36
TIME_MARK = "#" * 13


def captured_login() -> bytes:
    """The body of a LOGIN that Keycloak's HTTP sender posted, 558 bytes."""
    for line in _CAPTURE.read_text().splitlines():
        text: str = json.loads(line)["body"]
        if json.loads(text).get("type") == "LOGIN":
            return text.encode()
    raise AssertionError(f"{_CAPTURE}: there is no LOGIN in it")


def marked_login() -> bytes:
    """The captured login, with marks for its id and its time."""
    text = captured_login().decode()
    login = json.loads(text)
    return text.replace(login["id"], ID_MARK).replace(str(login["time"]), TIME_MARK).encode()


def logins(count: int, seed: int = 1, begin: int = BEGIN) -> Iterator[bytes]:
    """So many logins, of 5,000 users at 20 clients from 20,000 addresses; the same for the same seed. ``begin``: time
    of the first, epoch milliseconds."""
    chance = random.Random(seed)
    text = captured_login().decode().replace("%", "%%")
    for field in ("id", "userId", "sessionId", "clientId", "ipAddress", "refresh_token_id", "username"):
        text = re.sub(rf'"{field}":"[^"]*"', f'"{field}":"%({field})b"', text)
    text = re.sub(r'"time":\d+', '"time":%(time)d', text)
    text = re.sub(r'"token_id":"onrtro:[^"]*"', '"token_id":"onrtro:%(token_id)b"', text)
    template = text.encode()
    users = [(_uuid(chance), b"n%04d" % number) for number in range(USERS)]
    clients = [b"c%02d" % number for number in range(CLIENTS)]
    addresses = [b"%d.%d.%d.%d" % tuple(chance.randbytes(4)) for _ in range(ADDRESSES)]
    for number in range(count):
        user, name = users[int(chance.random() * USERS)]
        yield template % {
            b"id": _uuid(chance),
            b"time": begin + number * STEP + int(chance.random() * STEP),
            b"userId": user,
            b"username": name,
            b"sessionId": base64.urlsafe_b64encode(chance.randbytes(18)),
            b"clientId": clients[int(chance.random() * CLIENTS)],
            b"ipAddress": addresses[int(chance.random() * ADDRESSES)],
            b"token_id": _uuid(chance),
            b"refresh_token_id": _uuid(chance),
        }


def bodies(count: int, size: int, seed: int = 1, begin: int = BEGIN) -> Iterator[bytes]:
    """So many logins, as JSON lists of ``size`` of them."""
    stretch: list[bytes] = []
    for login in logins(count, seed, begin):
        stretch.append(login)
        if len(stretch) == size:
            yield b"[%b]" % b",".join(stretch)
            stretch.clear()
    if stretch:
        yield b"[%b]" % b",".join(stretch)


def write_bodies(file: Path, count: int, size: int = 100, seed: int = 1, begin: int = BEGIN) -> None:
    """Bodies in a file, one a line."""
    with file.open("wb") as out:
        out.writelines(body + b"\n" for body in bodies(count, size, seed, begin))


def _uuid(chance: random.Random) -> bytes:
    text = b"%032x" % chance.getrandbits(128)
    return b"%b-%b-4%b-a%b-%b" % (text[:8], text[8:12], text[13:16], text[17:20], text[20:])
