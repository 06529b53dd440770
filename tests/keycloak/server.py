"""A real Keycloak on a loopback port, with a realm that is full of settings."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.keycloak.distribution import Distribution, java_home, unpacked

ADMIN, PASSWORD = "admin", "admins-password"
REALM = "acme"
#: Seconds until a server answers, on a busy machine.
DEADLINE = 400.0
_REALM_FILE = Path(__file__).with_name("realm.json")


class Keycloak:
    """A server that answers."""

    def __init__(self, home: Path, java: Path, url: str, session: ClientSession) -> None:
        self.home = home
        self.url = url
        self.session = session
        self._java = java
        self._config = home / "kcadm.config"

    async def login(self, username: str, password: str, *, realm: str = REALM, client: str = "app") -> tuple[int, Any]:
        """Log in by the direct grant: status and answer."""
        form = {"grant_type": "password", "client_id": client, "username": username, "password": password}
        if client == "app":
            form |= {"client_secret": "app-secret", "scope": "openid"}
        return await self.token(form, realm=realm)

    async def token(self, form: dict[str, str], *, realm: str = REALM) -> tuple[int, Any]:
        """Ask the token endpoint: status and answer."""
        url = f"{self.url}/realms/{realm}/protocol/openid-connect/token"
        async with self.session.post(url, data=form) as response:
            return response.status, await response.json()

    async def admin(self, method: str, path: str, json: Any = None, *, realm: str = REALM) -> Any:
        """Ask the Admin REST API as the administrator: the answer, ``None`` where it has no JSON.

        Raises:
            AssertionError: it refuses.
        """
        status, answer = await self.login(ADMIN, PASSWORD, realm="master", client="admin-cli")
        assert status == 200, answer
        headers = {"Authorization": f"Bearer {answer['access_token']}"}
        address = f"{self.url}/admin/realms/{realm}{path}"
        async with self.session.request(method, address, json=json, headers=headers) as response:
            assert response.status < 300, (method, path, response.status, await response.text())
            return await response.json() if response.content_type == "application/json" else None

    async def shell(self, script: str) -> str:
        """Run lines of a shell that has ``kcadm.sh``, as an administrator would; what they wrote.

        Raises:
            AssertionError: one of them failed.
        """
        environment = {
            **os.environ,
            "JAVA_HOME": str(self._java),
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
        }
        process = await asyncio.create_subprocess_exec(
            "sh", "-euc", script, env=environment, cwd=self.home,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        written, errors = await process.communicate()
        assert process.returncode == 0, f"{script}\n{written.decode()}{errors.decode()}"
        return written.decode()


@asynccontextmanager
async def running(
    distribution: Distribution, folder: Path, realm: Path = _REALM_FILE, /, **variables: str
) -> AsyncIterator[Keycloak]:
    """A server with an empty database and a realm, while the context lasts. ``realm``: the file that is imported;
    ``variables``: further ones of its environment, such as ``KC_SPI_EVENTS_STORE_PROVIDER``.

    Raises:
        NotAvailable: it cannot be had on this machine.
    """
    home = await asyncio.to_thread(unpacked, distribution, folder)
    java = await asyncio.to_thread(java_home, distribution.java)
    name = _imported(home, realm)
    port, management = free_ports(2)
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "JAVA_HOME": str(java),
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx768m",
        "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
        "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
        "KC_DB": "dev-mem",
        **variables,
    }
    words = [
        str(home / "bin" / "kc.sh"), "start-dev", "--import-realm", "--http-host=127.0.0.1", f"--http-port={port}",
        f"--http-management-port={management}", "--log-level=INFO,org.keycloak.events:DEBUG",
    ]  # fmt: skip
    popen = _start(words, environment, home / "server.log")
    try:
        async with ClientSession(timeout=ClientTimeout(60)) as session:
            await _answers(f"{url}/realms/{name}", popen, home / "server.log", session)
            yield Keycloak(home, java, url, session)
    finally:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def _imported(home: Path, realm: Path) -> str:
    """Have a realm imported at the start; its name."""
    content = realm.read_bytes()
    folder = home / "data" / "import"
    folder.mkdir(parents=True)
    (folder / "realm.json").write_bytes(content)
    return str(json.loads(content)["realm"])


def _start(words: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(words, env=environment, stdout=file, stderr=file, start_new_session=True)


def _said(log: Path) -> str:
    return log.read_text()[-3000:]


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses."""
    with ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


async def _answers(realm: str, popen: subprocess.Popen[bytes], log: Path, session: ClientSession) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            assert popen.poll() is None, _said(log)
            try:
                async with session.get(f"{realm}/.well-known/openid-configuration") as response:
                    if response.status == 200:
                        return
            except (OSError, ClientError):
                pass
            await asyncio.sleep(0.2)
