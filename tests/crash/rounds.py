"""Rounds of a service that is killed at a point, and started again on the same data: what is asked of it meanwhile, and
what must be so afterwards, whatever came in between."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import signal
import sqlite3
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import ClientError, ClientSession, ClientTimeout

from adapter.log.opening import file_url, open_store
from adapter.log.postgresql.address import SCHEMA
from adapter.log.protocol import Attempt, Store
from adapter.model import uid_text
from tests.crash.points import Dies, Point
from tests.crash.receiver import DicedReceiver
from tests.opened import login

#: Seconds in which a point is reached, and in which a service that is left alone has sent everything: a few, where the
#: machine has nothing else to do.
REACHED, DRAINED = 120.0, 180.0
TOKEN = "administrators-token"
#: The sinks, what is sent at once by each (requests times events), and how each is set.
WINDOWS = {"plain": 4, "ordered": 4, "batched": 2 * 5}
_SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"window": 4, "retry": [0.05, 0.1, 0.1]},
    "ordered": {"window": 4, "retry": [0.05] * 50, "order_by": "user"},
    "batched": {"window": 2, "retry": [0.05, 0.1, 0.1], "batch": {"entries": 5, "wait": 0.02}},
}
USERS = 10
#: The client whose events are sent again by replays of what was delivered.
AGAIN = "again"


class Child:
    """One service."""

    def __init__(self) -> None:
        self.process = 0
        loop = asyncio.get_running_loop()
        self.url: asyncio.Future[str] = loop.create_future()
        self.ended = asyncio.Event()
        self.died_at: str | None = None
        self.failed: str | None = None
        self.reloads = 0

    def kill(self) -> None:
        """End it as a lost machine would."""
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process, number)

    async def serves(self) -> bool:
        """Wait until it serves; ``False``: it has ended before."""
        ending: asyncio.Future[Any] = asyncio.ensure_future(self.ended.wait())
        opened: asyncio.Future[Any] = self.url
        await asyncio.wait([opened, ending], timeout=REACHED, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        assert self.url.done() or self.ended.is_set(), "a service neither serves nor ends"
        return self.url.done()


class Program:
    """`tests.crash.program`, which starts services."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, engine: str) -> None:
        self._process = process
        self._folder = folder
        self._engine = engine
        self._ordered: list[Child] = []
        self._by_process: dict[int, Child] = {}

    async def start(
        self, settings: dict[str, Any], point: Point | None = None, turn: int = 1, *, takes_over: bool = False
    ) -> Child:
        """Start a service that ends at a point; ``takes_over``: in the place of the one that runs."""
        assert self._process.returncode is None, "the program has ended; its errors stand in errors.log"
        child = Child()
        self._ordered.append(child)
        order = {
            "number": len(self._ordered) - 1,
            "settings": settings,
            "errors": str(self._folder / "errors.log"),
            "engine": self._engine,
            "point": None if point is None else point.name,
            "turn": turn,
            "takes_over": takes_over,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return child

    async def listen(self) -> None:
        """Hear what becomes of them, until the program ends."""
        assert self._process.stdout is not None
        loop = asyncio.get_running_loop()
        async for line in self._process.stdout:
            said = json.loads(line)
            if (number := said.get("order")) is not None:
                child = self._by_process[said["process"]] = self._ordered[number]
                child.process = said["process"]
                try:
                    watched = os.pidfd_open(child.process)
                except ProcessLookupError:
                    child.ended.set()
                else:
                    loop.add_reader(watched, self._note_end, child, watched)
                continue
            child = self._by_process[said["process"]]
            child.died_at, child.failed = said.get("died_at", child.died_at), said.get("failed", child.failed)
            child.reloads += "reloaded" in said
            if "url" in said and not child.url.done():
                child.url.set_result(said["url"])

    def _note_end(self, child: Child, watched: int) -> None:
        asyncio.get_running_loop().remove_reader(watched)
        os.close(watched)
        child.ended.set()


@asynccontextmanager
async def open_program(folder: Path, engine: str) -> AsyncIterator[Program]:
    """The program, while the context lasts; its services end with it."""
    errors = (folder / "errors.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.program", stdin=-1, stdout=-1, stderr=errors, limit=1 << 20
    )
    errors.close()
    program = Program(process, folder, engine)
    listening = asyncio.create_task(program.listen())
    try:
        yield program
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await listening


class Sender:
    """A provider: posts events, and posts again what nobody answered."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._number = 0
        self._unanswered: list[list[dict[str, Any]]] = []
        #: Uids that came with a 202, and who did it.
        self.uids: dict[str, dict[str, Any]] = {}

    async def post_until_it_ends(self, session: ClientSession) -> None:
        """Post, a few at a time, until nobody answers any more."""
        while True:
            body = self._unanswered.pop() if self._unanswered else self.body()
            if not await self._post(session, body):
                return
            await asyncio.sleep(0.03 * self._dice.random())

    async def post_the_rest(self, session: ClientSession) -> None:
        """Post again what nobody answered."""
        while self._unanswered:
            assert await self._post(session, self._unanswered.pop())

    async def _post(self, session: ClientSession, body: list[dict[str, Any]]) -> bool:
        """Whether it was answered, with whatever."""
        try:
            async with session.post("/ingest/keycloak", json=body) as response:
                receipts = await response.json(content_type=None)
                status = response.status
        except (ClientError, OSError, TimeoutError):
            self._unanswered.append(body)
            return False
        if status != 202:
            assert status == 503, receipts
            self._unanswered.append(body)
            await asyncio.sleep(0.05)
            return True
        self.uids.update(zip(receipts["uids"], body, strict=True))
        return True

    def body(self) -> list[dict[str, Any]]:
        """New events."""
        events = []
        for _ in range(self._dice.choice((1, 1, 2, 5))):
            self._number += 1
            client = AGAIN if self._dice.random() < 0.1 else "account"
            events.append(login(self._number, userId=f"user-{self._number % USERS}", clientId=client))
        return events


class Rounds:
    """A service's data, what is posted to it, and what its receiver gets, over many kills."""

    def __init__(
        self, program: Program, receiver: DicedReceiver, dice: random.Random, folder: Path, engine: str,
        url: str | None, *, removes: bool,
    ) -> None:  # fmt: skip
        """``url``: of the database; ``removes``: what all sinks have had is removed after a second."""
        self._program = program
        self._receiver = receiver
        self._dice = dice
        self._folder = folder
        self._engine = engine
        self._url = url
        self._removes = removes
        self._sender = Sender(dice)
        self._settings: dict[str, Any] = {
            "data": {"folder": str(folder / "data"), "secret_key": b64encode(bytes(range(32))).decode()},
            "auth": {"admin_token": TOKEN},
            "server": {"port": 0},
            "outgoing": {"allow": ["127.0.0.0/8"]},
            "store": {
                # All that are made in hundreds of rounds are counted.
                "attempts_limit": 1_000_000,
                **({} if url is None else {"url": url}),
                **({"keep": "1h"} if removes else {}),
            },
            "sources": [{"name": "keycloak", "provider": "keycloak"}],
        }
        #: Kills so far; points that were not reached.
        self.kills = 0
        self.missed: list[str] = []
        #: How many events of each sink came again, and how many more may; what it had, and up to where that was looked
        #: at.
        self.again: Counter[str] = Counter()
        self._may_come: Counter[str] = Counter()
        self._had: dict[str, set[str]] = {name: set() for name in _SETTINGS}
        self._looked_at: Counter[str] = Counter()
        #: Replays that were begun: sink, id, up to where, and what the receiver had got of the sink then.
        self._begun: dict[tuple[str, int], tuple[int, int]] = {}
        #: Up to where the services' log was read.
        self._read_to = 0

    @property
    def events(self) -> int:
        """Answered with 202."""
        return len(self._sender.uids)

    async def prepare(self) -> None:
        """Make the sinks."""
        child = await self._program.start(self._settings)
        assert await child.serves(), child.failed
        async with self._session(child) as session:
            for name, settings in _SETTINGS.items():
                secret = "whsec_" + b64encode(secrets.token_bytes(24)).decode()
                self._receiver.secrets[name].append(secret)
                given = {
                    "kind": "webhook", "url": f"{self._receiver.url}/{name}", "from": "beginning", "timeout": 2.0,
                    "attempts": "all", "secret": secret, **settings,
                }  # fmt: skip
                if self._removes:
                    given["retry"] = [0.05] * 50
                await _ask(session, "PUT", f"/sinks/{name}", given)
        await self._end(child)

    async def run(self, point: Point) -> None:
        """One round: work until the point is reached."""
        turn = self._dice.randint(*point.turns)
        self._receiver.is_kind = False
        self._receiver.refused = set() if self._removes else {f"user-{self._dice.randrange(USERS)}"}
        first = await self._program.start(self._settings, None if point.is_successor else point, turn)
        children = [first]
        if await first.serves():
            async with self._session(first) as session:
                works = [asyncio.create_task(self._sender.post_until_it_ends(session)) for _ in range(2)]
                works.append(asyncio.create_task(self._ask_for(point.asked, first, session)))
                if point.asked == "take-over":
                    await asyncio.sleep(0.3 * self._dice.random())
                    armed = point if point.is_successor else None
                    children.append(await self._program.start(self._settings, armed, turn, takes_over=True))
                with suppress(TimeoutError):
                    await self._reach(point, children[-1] if point.is_successor else first)
                for child in children:
                    child.kill()
                    await child.ended.wait()
                await asyncio.gather(*works)
        if all(child.died_at is None for child in children):
            self.missed.append(point.name)
        for _ in range(len(children) - 1 + self._claims_lost()):
            self._note_kill()  # what was under way at the first of two may have come before the second one
        self._check_again()
        self._note_kill()
        for child in children:
            # A service whose writer ends while it is opened ends, too, and is started again.
            assert child.failed is None or (point.dies is Dies.WRITER and not child.url.done()), child.failed

    def _claims_lost(self) -> int:
        """How often since the last round a service that was too slow has stopped delivering at once, as if killed."""
        with (self._folder / "errors.log").open() as file:
            file.seek(self._read_to)
            lost = sum('"event":"claim_lost"' in line and '"name":"sink:' in line for line in file)
            self._read_to = file.seek(0, 2)
        return lost

    def _note_kill(self) -> None:
        self.kills += 1
        self._may_come.update({name: 2 * window for name, window in WINDOWS.items()})

    async def _reach(self, point: Point, child: Child) -> None:
        """Wait until the service has come to the point.

        Raises:
            TimeoutError: it does not.
        """
        async with asyncio.timeout(REACHED):
            if point.dies is Dies.WRITER:
                await _until(lambda: child.died_at)
            else:
                await child.ended.wait()
            if point.dies is Dies.WRITER or point.asked == "take-over":
                await asyncio.sleep(0.3 * self._dice.random())  # what is left goes on for a while

    async def _ask_for(self, asked: str, child: Child, session: ClientSession) -> None:
        """Ask for what lets the point be reached, and for something else at times."""
        with suppress(ClientError, OSError, TimeoutError):
            while not child.ended.is_set():
                what = asked if self._dice.random() < 0.8 else self._dice.choice(["rotate", "replay", "events"])
                name = self._dice.choice([*_SETTINGS])
                await asyncio.sleep(0.1 * self._dice.random())
                if what == "rotate" and len(self._receiver.secrets[name]) < 12:
                    await self._rotate(session, name)
                elif what == "replay":
                    await self._replay(session, name, self._dice.choice(["dead", "delivered"]))
                elif what == "reload" and not child.reloads:
                    child.signal(signal.SIGHUP)
                    await asyncio.sleep(0.5)
                await asyncio.sleep(0.2 * self._dice.random())

    async def _rotate(self, session: ClientSession, name: str, **asked: Any) -> None:
        status, answer = await _asked(session, "POST", f"/sinks/{name}/rotate", asked or None)
        if status == 200:
            self._receiver.secrets[name].append(answer["secret"])
        else:
            assert status in (409, 503), answer  # 409: eight that were replaced are valid still

    async def _replay(self, session: ClientSession, name: str, status: str) -> None:
        taken = len(self._receiver.taken[name])
        filter = {"client": [AGAIN]} if status == "delivered" else {}
        question = {"status": [status], "filter": filter, "rate": 0}
        code, job = await _asked(session, "POST", f"/sinks/{name}/replay", question)
        if code == 202 and status == "delivered":
            self._begun[name, job["id"]] = job["end"], taken
        assert code in (202, 409, 503), job

    async def check(self) -> None:
        """Start the service, leave it alone until it has sent everything, and see what it came to."""
        self._receiver.is_kind = True
        child = await self._program.start(self._settings)
        assert await child.serves(), child.failed
        promised = {}
        async with self._session(child) as session:
            await self._sender.post_the_rest(session)
            for name in _SETTINGS:
                promised[name] = await self._drain(session, name)
            self._check_again()
            self._may_come.clear()
            self._check_arrived()
            await self._check_secrets(session)
            for name in _SETTINGS:
                await _ask(session, "POST", f"/sinks/{name}/audit")
                audit = await _until(lambda name=name: self._audited(session, name))  # type: ignore[misc]
                assert audit["differences"] == [], (name, audit)
        await self._end(child)
        async with self._opened() as log:
            for name in _SETTINGS:
                await self._check_kept(log, name)
                await self._check_promised(log, name, promised[name])
            await self._check_order(log)
        await self._check_orphans()

    async def _drain(self, session: ClientSession, name: str) -> int | None:
        """Wait until it has sent everything, also what it gave up on; the number of the replay that was the last one
        before, if there was one."""
        replay: int | None = None
        is_first = True

        async def is_drained() -> bool:
            nonlocal replay, is_first
            job = await self._job(session, name)
            if job is not None and job["state"] == "running":
                return False
            if is_first:
                is_first, replay = False, await self._promised(session, name)
            sink = await _ask(session, "GET", f"/sinks/{name}")
            counts = sink["counts"]
            if counts["dead"]:
                await _asked(session, "POST", f"/sinks/{name}/replay", {"status": ["dead"], "rate": 0})
                return False
            return not (sink["lag"] or counts["held"] or counts["inFlight"])

        try:
            await _until(is_drained)
        except TimeoutError:
            told = await _ask(session, "GET", f"/sinks/{name}"), await self._job(session, name)
            raise AssertionError(f"{name} does not come to an end: {told}") from None
        return replay

    async def _job(self, session: ClientSession, name: str) -> dict[str, Any] | None:
        status, job = await _asked(session, "GET", f"/sinks/{name}/replay")
        return job if status == 200 else None

    async def _audited(self, session: ClientSession, name: str) -> dict[str, Any] | None:
        audit: dict[str, Any] = await _ask(session, "GET", f"/sinks/{name}/audit")
        return audit if audit["state"] != "running" else None

    def _check_arrived(self) -> None:
        """All that was answered with 202 is with the receiver."""
        for name in _SETTINGS:
            lost = self._sender.uids.keys() - self._receiver.has(name).keys()
            assert not lost, f"{name}: {len(lost)} events are lost, such as {min(lost)}"
            assert not self._receiver.unsigned[name], f"{name}: a body was signed with none of its secrets"

    def _check_again(self) -> None:
        """No more comes again than two windows for each kill since all was settled: what was under way at one kill may
        not be under way at the next one, and come later. What replays send is left out: they are readers of their own.
        """
        for name in WINDOWS:
            taken = self._receiver.taken[name]
            had, again = self._had[name], 0
            for uid in taken[self._looked_at[name] :]:
                event = self._sender.uids.get(uid)
                again += uid in had and event is not None and event["clientId"] != AGAIN
                had.add(uid)
            self._looked_at[name] = len(taken)
            self.again[name] += again
            self._may_come[name] -= again
            assert self._may_come[name] >= 0, f"{name}: more than two windows came again for each kill"

    async def _check_secrets(self, session: ClientSession) -> None:
        """Each secret that was shown signs; then they are replaced."""
        counts = {name: len(self._receiver.taken[name]) for name in _SETTINGS}
        body = self._sender.body()
        async with session.post("/ingest/keycloak", json=body) as response:
            assert response.status == 202
            self._sender.uids.update(zip((await response.json())["uids"], body, strict=True))
        for name in _SETTINGS:
            await _until(lambda name=name: len(self._receiver.taken[name]) > counts[name])  # type: ignore[misc]
            shown = set(range(len(self._receiver.secrets[name])))
            assert self._receiver.last_signed[name] == shown, f"{name}: a secret that was shown does not sign"
            await self._drain(session, name)
            await self._rotate(session, name, overlap=0)
            del self._receiver.secrets[name][:-1]

    async def _promised(self, session: ClientSession, name: str) -> int | None:
        """Of the last replay of what was delivered, its id, once it has come to its end."""
        job = await self._job(session, name)
        if job is None:
            return None
        assert job["state"] == "done", job
        counts = job["counts"]
        ended = sum(counts[one] for one in ("renewed", "busy", "delivered", "dead", "skipped"))
        assert counts["held"] == 0, job
        assert counts["matched"] == ended, job
        return int(job["id"])

    async def _check_promised(self, log: Store, name: str, replay: int | None) -> None:
        """The last replay of what was delivered has sent it."""
        if replay is None or (name, replay) not in self._begun or self._removes:
            return
        end, taken = self._begun[name, replay]
        sent = {*self._receiver.taken[name][taken:], *self._receiver.doubtful[name]}
        dead = {row.position for row in await log.rows(f"sink:{name} replay {replay}", dead=True)}  # as it told
        async for uid, position in _entries(log):
            if position <= end and position not in dead and self._sender.uids.get(uid, {}).get("clientId") == AGAIN:
                assert uid in sent, f"{name}: replay {replay} did not send {uid}"

    async def _check_kept(self, log: Store, name: str) -> None:
        """The law, and the attempts: one for each request that the receiver knows of, or none."""
        state = await log.progress(f"sink:{name}")
        assert state is not None
        held = state.held + state.behind
        assert state.matched == state.delivered + held + state.dead + state.skipped, (name, state)
        assert not (held or state.dead), (name, state)
        assert await log.blocked(f"sink:{name}") == []
        counted: Counter[int] = Counter()
        has, rows = self._receiver.has(name), 0
        seen: set[tuple[int, int]] = set()
        async for one in _attempts(log, f"sink:{name}"):
            assert (one.began_at, one.position) not in seen
            seen.add((one.began_at, one.position))
            if one.outcome == "delivered":
                rows += one.entries
                if one.entries == one.last - one.position + 1:
                    counted.update(range(one.position, one.last + 1))
        assert state.delivered <= rows <= has.total(), (name, state, rows, has.total())
        async for uid, position in _entries(log):
            if uid in self._sender.uids:
                assert counted[position] <= has[uid], f"{name}: more attempts than requests of {position}"

    async def _check_order(self, log: Store) -> None:
        """Of each user the receiver took the events in the order of the log, when it took them first."""
        if self._removes:
            return
        place = {uid: position async for uid, position in _entries(log)}
        firsts: dict[str, list[int]] = {}
        for uid in dict.fromkeys(self._receiver.taken["ordered"]):
            event = self._sender.uids.get(uid)
            if event is not None and not self._receiver.doubtful["ordered"][uid]:
                firsts.setdefault(event["userId"], []).append(place[uid])
        for user, positions in firsts.items():
            assert positions == sorted(positions), f"{user}: out of order"

    async def _check_orphans(self) -> None:
        """No row is of a reader that is not known."""
        for table in ("attempt", "held", "blocked"):
            if self._url is None:
                question = f"SELECT count(*) FROM {table} WHERE reader NOT IN (SELECT id FROM reader)"
                with closing(sqlite3.connect(self._folder / "data" / "log.sqlite")) as file:
                    (count,) = file.execute(question).fetchone()
            else:
                question = f"SELECT count(*) FROM {table} WHERE reader NOT IN (SELECT name FROM reader)"
                database = await asyncpg.connect(self._url, server_settings={"search_path": SCHEMA})
                count = await database.fetchval(question)
                await database.close()
            assert count == 0, f"{count} rows of {table} are nobody's"

    def _opened(self) -> AbstractAsyncContextManager[Store]:
        url = self._url or file_url(self._folder / "data" / "log.sqlite")
        return open_store(url, dictionary=bytes, commit_timeout=10.0)

    async def _end(self, child: Child) -> None:
        child.signal(signal.SIGTERM)
        async with asyncio.timeout(REACHED):
            await child.ended.wait()
        assert child.failed is None, child.failed

    def _session(self, child: Child) -> ClientSession:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return ClientSession(child.url.result(), headers=headers, timeout=ClientTimeout(total=REACHED))


async def _asked(session: ClientSession, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with session.request(method, path, json=body) as response:
        return response.status, await response.json(content_type=None)


async def _ask(session: ClientSession, method: str, path: str, body: Any = None) -> Any:
    status, answer = await _asked(session, method, path, body)
    assert status < 300, (method, path, status, answer)
    return answer


async def _until(holds: Callable[[], Any]) -> Any:
    """Wait until what it gives, or what is waited for then, is true, and return that."""
    async with asyncio.timeout(DRAINED):
        while True:
            found = holds()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


async def _entries(log: Store) -> AsyncIterator[tuple[str, int]]:
    """Uid and position of all entries, in the order of the log."""
    after = 0
    while entries := await log.read(after):
        for entry in entries:
            yield uid_text(entry.uid), entry.position
        after = entries[-1].position


async def _attempts(log: Store, reader: str) -> AsyncIterator[Attempt]:
    before = None
    while found := await log.attempts(reader, before=before, limit=1000):
        for one in found:
            yield one
        before = found[-1].began_at, found[-1].position
