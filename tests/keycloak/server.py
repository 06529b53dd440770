"""A real Keycloak on a loopback port, with realms that are full of settings."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout

from tests.keycloak.distribution import Distribution, java_home, keep_built, unpacked

ADMIN, PASSWORD = "admin", "admins-password"
#: The realm that a server begins with.
REALM = "acme"
#: Seconds until a server answers, on a busy machine.
DEADLINE = 400.0
_REALM_FILE = Path(__file__).with_name("realm.json")


class Server:
    """A server's process, whose database is a file, so that it can be started anew."""

    def __init__(
        self, distribution: Distribution, home: Path, java: Path, realm: str, variables: dict[str, str]
    ) -> None:
        """``home``: the unpacked server's folder; ``realm``: the one that it begins with; ``variables``: further ones
        of its environment."""
        self.distribution = distribution
        self.home = home
        self.java = java
        #: What it writes, from its first start on.
        self.log = home / "server.log"
        self.realm = realm
        self.port, management = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        #: The administrator's latest; empty before there is one.
        self.token = ""
        self._environment = {
            **os.environ,
            "JAVA_HOME": str(java),
            "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx768m",
            # It lives for minutes: what the second compiler takes is not paid back, a third of a start.
            "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
            "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
            "KC_DB": "dev-file",
            **variables,
        }
        self._words = [
            str(home / "bin" / "kc.sh"), "start-dev", "--import-realm", "--http-host=127.0.0.1",
            f"--http-port={self.port}", f"--http-management-port={management}",
            "--log-level=INFO,org.keycloak.events:DEBUG",
        ]  # fmt: skip
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            AssertionError: it does not.
        """
        with self.log.open("ab") as file:
            popen = subprocess.Popen(
                self._words, env=self._environment, stdout=file, stderr=file, start_new_session=True
            )
        self._popen = popen
        deadline = time.monotonic() + DEADLINE
        while not self._answers():
            assert popen.poll() is None and time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.2)

    def stop(self) -> None:
        """End it as an administrator would: what it has committed is on the disk."""
        assert self._popen is not None
        os.killpg(self._popen.pid, signal.SIGTERM)
        self._popen.wait(DEADLINE)

    def kill(self) -> None:
        """End it at once."""
        if self._popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/realms/{self.realm}/.well-known/openid-configuration", timeout=60):
                return True
        except OSError:
            return False


class Keycloak:
    """A realm of a server, and who asks it."""

    def __init__(self, server: Server, session: ClientSession, realm: str = REALM) -> None:
        self.server = server
        self.home = server.home
        self.url = server.url
        self.session = session
        self.realm = realm

    async def login(
        self, username: str, password: str, *, realm: str | None = None, client: str = "app"
    ) -> tuple[int, Any]:
        """Log in by the direct grant: status and answer."""
        form = {"grant_type": "password", "client_id": client, "username": username, "password": password}
        if client == "app":
            form |= {"client_secret": "app-secret", "scope": "openid"}
        return await self.token(form, realm=realm)

    async def token(self, form: dict[str, str], *, realm: str | None = None) -> tuple[int, Any]:
        """Ask the token endpoint: status and answer."""
        url = f"{self.url}/realms/{realm or self.realm}/protocol/openid-connect/token"
        async with self.session.post(url, data=form) as response:
            return response.status, await response.json()

    async def admin(self, method: str, path: str, json: Any = None, *, realm: str | None = None) -> Any:
        """Ask the Admin REST API below the realm, or another one, as the administrator, as `ask_as_admin`."""
        return await self.ask_as_admin(method, f"/admin/realms/{realm or self.realm}{path}", json)

    async def ask_as_admin(self, method: str, path: str, json: Any = None) -> Any:
        """Ask the server as the administrator: the answer, ``None`` where it has no JSON.

        Raises:
            AssertionError: it refuses.
        """
        # To log in takes the server longer than most questions do.
        known = self.server.token
        headers = {"Authorization": f"Bearer {known or await self._login_as_admin()}"}
        async with self.session.request(method, f"{self.url}{path}", json=json, headers=headers) as response:
            if known and response.status in (401, 403):
                # It has run out, or is of a time before the realm.
                self.server.token = ""
                return await self.ask_as_admin(method, path, json)
            assert response.status < 300, (method, path, response.status, await response.text())
            return await response.json() if response.content_type == "application/json" else None

    async def _login_as_admin(self) -> str:
        status, answer = await self.login(ADMIN, PASSWORD, realm="master", client="admin-cli")
        assert status == 200, answer
        self.server.token = str(answer["access_token"])
        return self.server.token

    async def new_realm(self, name: str, **changed: Any) -> Keycloak:
        """Make one more realm of ``realm.json`` that only its name and what is ``changed`` tell from the first one."""
        settings = json.loads(_REALM_FILE.read_text().replace(REALM, name).replace(REALM.title(), name.title()))
        await self.ask_as_admin("POST", "/admin/realms", {**settings, **changed})
        return Keycloak(self.server, self.session, name)

    async def keep_events(self) -> None:
        """Have the realm store all that the page says, as ``sources prepare`` does."""
        config = await self.admin("GET", "/events/config")
        types = {*config["enabledEventTypes"], "REFRESH_TOKEN", "INTROSPECT_TOKEN", "USER_INFO_REQUEST"}
        kept = dict.fromkeys(("eventsEnabled", "adminEventsEnabled", "adminEventsDetailsEnabled"), True)
        await self.admin("PUT", "/events/config", {**config, **kept, "enabledEventTypes": sorted(types)})

    async def send_events(self, url: str, secret: str, *, plainly: bool = False) -> None:
        """Have Phase Two's listener send the realm's events to a source: by webhook, or in Keycloak's own form, which
        one source can get."""
        config = await self.admin("GET", "/events/config")
        listener = "ext-event-http" if plainly else "ext-event-webhook"
        if plainly:
            setting = json.dumps({"targetUri": url, "sharedSecret": secret})
            attributes = (await self.admin("GET", ""))["attributes"]
            await self.admin("PUT", "", {"attributes": {**attributes, "_providerConfig.ext-event-http.0": setting}})
        else:
            webhook = {"enabled": True, "url": url, "secret": secret, "eventTypes": ["*"]}
            await self.ask_as_admin("POST", f"/realms/{self.realm}/webhooks", webhook)
        listeners = sorted({*config["eventsListeners"], listener})
        await self.admin("PUT", "/events/config", {**config, "eventsListeners": listeners})

    async def stored(self) -> list[dict[str, Any]]:
        """What the realm has, user and admin events."""
        return [one for path in ("/events", "/admin-events") for one in await self.admin("GET", f"{path}?max=10000")]

    async def shell(self, script: str) -> str:
        """Run lines of a shell that has ``kcadm.sh``, as an administrator would; what they wrote.

        Raises:
            AssertionError: one of them failed.
        """
        environment = {
            **os.environ,
            "JAVA_HOME": str(self.server.java),
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            # Each command is a Java of its own: half of its time goes into what a short life does not pay back.
            "KC_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        }
        process = await asyncio.create_subprocess_exec(
            "sh", "-euc", script, env=environment, cwd=self.home,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        written, errors = await process.communicate()
        assert process.returncode == 0, f"{script}\n{written.decode()}{errors.decode()}"
        return written.decode()


@contextmanager
def started(
    distribution: Distribution, folder: Path, realm: Path = _REALM_FILE, /, **variables: str
) -> Iterator[Server]:
    """A server with an empty database and a realm, while the context lasts. ``realm``: the file that is imported;
    ``variables``: further ones of its environment, such as ``KC_SPI_EVENTS_STORE_PROVIDER``.

    Raises:
        NotAvailable: it cannot be had on this machine.
    """
    home = unpacked(distribution, folder)
    content = realm.read_bytes()
    server = Server(distribution, home, java_home(distribution.java), json.loads(content)["realm"], variables)
    imported = home / "data" / "import"
    imported.mkdir(parents=True)
    (imported / "realm.json").write_bytes(content)
    try:
        server.start()
        keep_built(distribution, home)
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def asked(server: Server) -> AsyncIterator[Keycloak]:
    """The realm that a server began with."""
    async with ClientSession(timeout=ClientTimeout(60)) as session:
        yield Keycloak(server, session, server.realm)


@asynccontextmanager
async def running(
    distribution: Distribution, folder: Path, realm: Path = _REALM_FILE, /, **variables: str
) -> AsyncIterator[Keycloak]:
    """A server of one's own, as `started`."""
    starting = started(distribution, folder, realm, **variables)
    server = await asyncio.to_thread(starting.__enter__)
    try:
        async with asked(server) as keycloak:
            yield keycloak
    finally:
        await asyncio.to_thread(starting.__exit__, None, None, None)


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses."""
    with ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]
