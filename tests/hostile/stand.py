"""The adapter as it stands under attack: a real service with a source for each built-in table, and what it stored."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.e2e.process import ADMIN, Process, serving
from tests.hostile.client import Address, Answer, NoAnswer, ask, request
from tests.hostile.probe import Question
from tests.hostile.table import Row
from tests.hostile.watches import Limits, Subject, Watch, probing, watching
from tests.opened import login

PROVIDERS = ("keycloak", "onewelcome", "okta", "zitadel", "magic-link", "audit-service", "auth0", "duo", "fusionauth")

#: Those who read: one is a good one, the other asks too much.
READER = "readers-own-token"
HEAVY = "heavy-readers-token"
SECRET = "secret-of-the-signature"

JSON = "application/json"

#: Quarantined events that are asked for one by one.
ASKED = 200

_SETTINGS: Mapping[str, Any] = {
    "SOURCES": [
        *({"name": name, "provider": name, "token": f"{name}-token"} for name in PROVIDERS),
        {"name": "neighbour", "provider": "keycloak", "token": "neighbour-token"},
        {"name": "signed", "provider": "keycloak", "token": SECRET},
    ],
    "KEYS": [
        {"name": "reader", "token": READER, "permissions": ["read", "raw"]},
        {"name": "heavy", "token": HEAVY, "permissions": ["read", "raw", "mappings"]},
    ],
}


class Readable:
    """What can be read from the service's log, followed as it grows."""

    def __init__(self, address: Callable[[], Address]) -> None:
        self._address = address
        self._uids: set[str] = set()
        self._cursor: str | None = None

    async def missing(self, acknowledged: set[str]) -> set[str]:
        """Those acknowledged that neither the feed nor the quarantine has. Of those that are not in the feed, which
        are asked for one by one, so many as `ASKED`, spread over them; that none is missing beside, `head` says."""
        await self._follow()
        others = sorted(acknowledged - self._uids)
        missing = set()
        for uid in others[:: max(1, len(others) // ASKED)]:
            if (await self._get(f"/quarantine/{uid}")).status != 200:
                missing.add(uid)
        self._uids.update(set(others) - missing)
        return missing

    async def head(self) -> int:
        """How many entries there are, without those of the service's own, such as a source's refusals."""
        lines = (await self._get("/metrics")).body.decode().splitlines()
        entries = int(float(next(line for line in lines if line.startswith("idp_adapter_log_position ")).split()[1]))
        own = json.loads((await self._get("/events?type=system.*&limit=1000")).body)
        return entries - len(own["events"])

    def begin_anew(self) -> None:
        """Forget what was read, so that all is read again."""
        self._uids.clear()
        self._cursor = None

    async def _follow(self) -> None:
        while True:
            after = "" if self._cursor is None else f"&cursor={self._cursor}"
            page = json.loads((await self._get(f"/events?order=log&limit=1000{after}")).body)
            self._uids.update(event["uid"] for event in page["events"])
            self._cursor = page["next"] or self._cursor
            if not page["events"]:
                return

    async def _get(self, path: str) -> Answer:
        until = time.monotonic() + 120
        while True:
            answer = await ask(self._address(), request("GET", path, {**bearer(ADMIN), "Connection": "close"}), 120)
            if answer.status not in (429, 503) or time.monotonic() > until:
                return answer
            await asyncio.sleep(0.5)


class Stand:
    """One service in one data folder, through all its starts."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        report: Callable[[Row], None],
        *,
        settings: Mapping[str, Any] | None = None,
        around: tuple[str, ...] = (),
        confined: Callable[[], None] = lambda: confine(resource.RLIMIT_NOFILE, 1024),
    ) -> None:
        """``confined`` is called in the process before the service begins; without it the service has the descriptors
        that most systems give, however many the attacker took."""
        self.folder = folder
        self.limits = limits
        self.report = report
        self._settings = {**_SETTINGS, **(settings or {})}
        self._around = around
        self._confined = confined
        self._stack = AsyncExitStack()
        self._process: Process | None = None
        self._subject: Subject | None = None
        self._acknowledged: set[str] = set()
        self._new = 0
        self._unsure = False
        self._first = 1
        self.stored = Readable(lambda: self.address)

    @property
    def process(self) -> Process:
        """The service."""
        assert self._process is not None, "it does not run"
        return self._process

    @property
    def subject(self) -> Subject:
        """The service, as it is watched."""
        assert self._subject is not None, "it does not run"
        return self._subject

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.subject.address

    async def start(self, *, warm: bool = True, arguments: tuple[str, ...] = ()) -> None:
        """Start it, and let it do once what it will do in the watches, so that only growth counts."""
        self._process = await self._stack.enter_async_context(
            serving(
                self.folder,
                settings=self._settings,
                around=self._around,
                limits=self._confined,
                arguments=arguments,
            )
        )
        question = Question(
            host="127.0.0.1",
            port=self._process.port,
            pid=self._process.pid,
            health="/healthz",
            path="/ingest/neighbour",
            headers={**bearer("neighbour-token"), "Content-Type": JSON},
            template=json.dumps(login(0, id="neighbour-@NUMBER@", time=1_800_000_000_000)),
            first=self._first,
            receipt=r'"uids":\["([^"]+)"',
        )
        self._first += 10_000_000
        probe = await self._stack.enter_async_context(probing(question))
        self._subject = Subject(
            Address(question.host, question.port),
            question,
            self.stored,
            self.limits,
            probe,
            self._acknowledged,
            self._new,
            self._unsure,
        )
        if warm:
            await self._warm()

    async def _warm(self) -> None:
        watch = Watch(self.subject)
        first = 50_000_000 + self._first
        events = json.dumps([login(number) for number in range(first, first + 2000)]).encode()
        answer = await watch.send(post("neighbour", events))
        assert answer.status == 202, answer
        await self.stored.missing(self._acknowledged)
        await self.ask("GET", "/events?q=anna&limit=100")

    async def end(self, number: int | None = None) -> int:
        """Stop it with SIGTERM (or another signal); its exit code."""
        code = await self.process.stop(*(() if number is None else (number,)))
        await self.forget()
        return code

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        await self.forget()

    async def forget(self) -> None:
        """Have done with a process that ended, or is to end at once."""
        if self._subject is not None:
            self._new, self._unsure = self._subject.new, self._subject.unsure
        # What the probe sent last was not heard of any more.
        self._unsure = True
        self._process = self._subject = None
        await self._stack.aclose()

    async def settle(self) -> None:
        """Stop, start again, and see that all that was acknowledged is there.

        Raises:
            AssertionError: it did not stop well, or something is lost.
        """
        if self._process is not None:
            code = await self.end()
            assert code == 0, f"exit code {code}: {self.folder}"
        await self.start(warm=False)
        try:
            self.stored.begin_anew()
            lost = await self.stored.missing(self._acknowledged)
            assert not lost, f"{len(lost)} acknowledged events are lost after a restart, such as {sorted(lost)[:3]}"
            assert await self.stored.head() >= self._new
        finally:
            await self.end()

    @asynccontextmanager
    async def beside(self, name: str, settings: Mapping[str, Any], **given: Any) -> AsyncIterator[Stand]:
        """Another service, with a folder and settings of its own, for one test; settled at the end."""
        other = Stand(self.folder.parent / name, self.limits, self.report, settings=settings, **given)
        try:
            await other.start()
            yield other
        except BaseException:
            await other.forget()
            raise
        await other.settle()

    @asynccontextmanager
    async def attacked(self, group: str, attack: str, bound: str, **allowed: Any) -> AsyncIterator[Watch]:
        """One attack under the three watches (see `watching`), on a service that is well when it begins."""
        if self._process is None or not await self._is_well():
            if self._process is not None:
                await self.kill()
            await self.start()
        try:
            async with watching(self.subject, self.report, group, attack, bound, **allowed) as watch:
                yield watch
        except BaseException:
            # The next attack is not to suffer for what this one broke.
            if self._process is not None:
                await self.kill()
            raise

    async def _is_well(self) -> bool:
        try:
            return (await self.ask("GET", "/readyz", patience=5)).status == 200
        except NoAnswer:
            return False

    async def ask(
        self, method: str, path: str, body: bytes | None = None, *, token: str = READER, patience: float = 60
    ) -> Answer:
        """One request of a reader's.

        Raises:
            NoAnswer: there was none.
        """
        headers = {**bearer(token), "Content-Type": JSON, "Connection": "close"}
        return await ask(self.address, request(method, path, headers, body), patience)


def confine(limit: int, soft: int) -> None:
    """Lower the soft limit of this process on a resource."""
    resource.setrlimit(limit, (soft, resource.getrlimit(limit)[1]))


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"}


def post(
    source: str, body: bytes, media: str = JSON, *, token: str | None = None, packed: bool = False, **headers: str
) -> bytes:
    """A post of events with the source's own token."""
    given = {**bearer(f"{source}-token" if token is None else token), "Content-Type": media, "Connection": "close"}
    if packed:
        given["Content-Encoding"] = "gzip"
    return request("POST", f"/ingest/{source}", {**given, **headers}, body)
