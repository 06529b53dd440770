"""What a receiver's own people see and do by a link: pages for a browser, and the same as JSON for their scripts.

They see one sink, and of it what its receiver has seen anyway: whether it is sent to, what was tried, and what was
given up on; in public texts, without an address of the service's network, a position of the log, a setting or a filter.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import hdrs, web
from pydantic import BaseModel

from adapter.api.attempts import SINK, Durations, uids_of
from adapter.api.bodies import read_asked
from adapter.api.feed import read_limit, refused
from adapter.api.operation import Answer, Body, Operation, Parameter, Proof, json_answer
from adapter.api.sinks import read_overlap
from adapter.api.slots import Slots
from adapter.console.pages import HEADERS, page
from adapter.console.receiver_answers import (
    LinkAttempt,
    LinkAttempts,
    LinkCounts,
    LinkDead,
    LinkDeadPage,
    LinkReplay,
    LinkReplayQuestion,
    LinkResendQuestion,
    LinkResent,
    LinkRotation,
    LinkSecret,
    LinkState,
    LinkTested,
)
from adapter.console.receiver_visit import LinkVisit, set_cookie, unknown_link, visit_of, wants_page
from adapter.delivery.attempts import Outcome
from adapter.delivery.fault import Fault, fault_of
from adapter.delivery.ledger import AGAIN, UNANSWERED
from adapter.delivery.loop import Delivery, Snapshot, reader_name
from adapter.delivery.standing import Decided, read
from adapter.errors import RequestError
from adapter.log.protocol import Store
from adapter.model import Entry, uid_text
from adapter.ownership import Ownership
from adapter.problem import answer as problem_of
from adapter.replay.job import Job, Question, Status
from adapter.replay.replaying import Replays
from adapter.sink_management.links import Link, SinkLinks
from adapter.sink_management.live import LiveSinks
from adapter.sink_management.managing import SinkManagement, tag
from adapter.sink_management.stored import secrets_in
from adapter.timestamps import FORMS, read_timestamp

#: What is done by POST alone.
_ON = {"Location": "The page to go on to"}
_DEEDS = ("test", "rotate", "replay", "resend")
#: What is under way by one link at the same time, and what is done by it within a minute: each is an event of the log.
_ACTIONS, _USES, _MINUTE = 2, 30, 60_000
#: A cursor among attempts: a time, and how many of that time were shown.
_CURSOR = re.compile(r"(\d{1,15})-(\d{1,4})", re.ASCII)

#: Milliseconds between two secrets that a link makes.
_ROTATED = 600_000
_STATES = {
    "running": "running",
    "down": "waiting: the receiver does not take anything",
    "paused": "paused by the sender",
    "stopped": "stopped; the sender has to resume it",
    "off": "off",
}
#: Answers that say nothing but what the receiver did itself.
_ITS_OWN = re.compile(r"the receiver (?:answered|closed|said)|no answer within|the answer is not valid HTTP")
_CERTIFICATE = "its certificate is not accepted"


class ReceiverPages:
    """Answers a receiver's people."""

    def __init__(
        self,
        log: Store,
        links: SinkLinks,
        live: LiveSinks,
        management: SinkManagement,
        replays: Replays,
        deliveries: Mapping[str, Ownership[Delivery]],
        *,
        now: Callable[[], int],
    ) -> None:
        """``now`` gives epoch milliseconds."""
        self._log = log
        self._links = links
        self._live = live
        self._management = management
        self._replays = replays
        self._deliveries = deliveries
        self._now = now
        self._actions = Slots("actions", each=_ACTIONS)
        #: When each link was used for something that is told as an event, lately.
        self._uses: dict[str, deque[int]] = {}

    def operations(self) -> list[Operation]:
        name, other = SINK, ("text/html",)
        limit = Parameter("limit", "How many in a page", {"type": "integer", "minimum": 1, "maximum": 1000})
        cursor = Parameter("cursor", "The place after the page before: its next")
        form = ("application/json", "application/x-www-form-urlencoded")

        def answer(told: str, model: type[BaseModel]) -> dict[int, Answer]:
            return {200: Answer(told, model=model, others=other)}

        def body(model: type[BaseModel]) -> Body:
            return Body(form, model, required=False)

        return [
            Operation(
                "GET", "/links/{name}/", self._page(self.state), "By a receiver's link: how it stands",
                answer("The state.", LinkState), parameters=[name], public=True, proves=Proof.LINK, for_browsers=True,
            ),
            Operation(
                "GET", "/links/{name}/attempts", self._page(self.attempts), "By a receiver's link: what was tried",
                answer("A page, the latest first.", LinkAttempts), parameters=[name, limit, cursor], public=True,
                proves=Proof.LINK, for_browsers=True,
            ),
            Operation(
                "GET", "/links/{name}/dead", self._page(self.dead), "By a receiver's link: what was given up on",
                answer("A page.", LinkDeadPage), parameters=[name, limit, cursor], public=True,
                proves=Proof.LINK, for_browsers=True,
            ),
            Operation(
                "POST", "/links/{name}/test", self._page(self.test), "By a receiver's link: send a test event",
                answer("What was answered.", LinkTested), parameters=[name], public=True,
                body=Body(("application/x-www-form-urlencoded",), required=False),
                errors=(409,), proves=Proof.LINK, for_browsers=True,
            ),
            Operation(
                "POST", "/links/{name}/rotate", self._page(self.rotate), "By a receiver's link: replace the secret",
                answer("The new one, shown this once.", LinkSecret), parameters=[name], public=True,
                body=body(LinkRotation), errors=(409, 412), proves=Proof.LINK, for_browsers=True,
            ),
            Operation(
                "POST", "/links/{name}/replay", self._page(self.replay),
                "By a receiver's link: send again what was given up on, or delivered",
                {
                    202: Answer("It is under way.", model=LinkReplay),
                    303: Answer("It is under way: a browser.", (), headers=_ON),
                },
                parameters=[name], public=True, body=body(LinkReplayQuestion),
                errors=(409,), proves=Proof.LINK, for_browsers=True,
            ),
            Operation(
                "POST", "/links/{name}/resend", self._page(self.resend),
                "By a receiver's link: send one dead event again",
                {
                    200: Answer("It is tried anew.", model=LinkResent),
                    303: Answer("Likewise: a browser.", (), headers=_ON),
                },
                parameters=[name], public=True, body=body(LinkResendQuestion),
                errors=(409,), proves=Proof.LINK, for_browsers=True,
            ),
            Operation(
                "GET", "/links/{name}/{token}", self.open, "Open a receiver's link in a browser",
                {303: Answer("It goes on to the page, with a cookie in the place of the token.", (), headers=_ON)},
                parameters=[name, Parameter("token", "The link's token")], public=True,
                errors=(401,), for_browsers=True,
            ),
        ]  # fmt: skip

    async def open(self, request: web.Request) -> web.Response:
        """The token goes into a cookie, and out of the address."""
        name, token = request.match_info["name"], request.match_info["token"]
        headers = {**HEADERS, "Referrer-Policy": "no-referrer"}
        if token in _DEEDS:
            # Somebody loads the answer to a form again.
            return web.Response(status=303, headers={**headers, hdrs.LOCATION: "./"})
        try:
            link = await self._links.by_token(name, token)
            if link is None:
                raise unknown_link()
        except Exception as error:
            answer = _told(error) if wants_page(request) else problem_of(error)
            answer.headers.update(headers)
            return answer
        answer = web.Response(status=303, headers={**headers, hdrs.LOCATION: "./"})
        set_cookie(answer, request, link, token, now=self._now())
        return answer

    async def state(self, request: web.Request, visit: LinkVisit) -> web.Response:
        it = await self._state(visit.link)
        return self._answer(visit, it, "link_state.html", here="State", states=_STATES)

    async def attempts(self, request: web.Request, visit: LinkVisit) -> web.Response:
        limit = read_limit(request.query.get("limit"))
        until, passed = None, 0
        if (cursor := request.query.get("cursor")) is not None:
            found = _CURSOR.fullmatch(cursor)
            if found is None:
                raise refused("cursor", cursor, "the next of the page before")
            until, passed = int(found[1]) + 1, int(found[2])
        rows = await self._log.attempts(reader_name(visit.link.sink), began_to=until, limit=passed + limit + 1)
        rows = rows[passed:]
        shown, more = rows[:limit], rows[limit:]
        uids = await uids_of(self._log, [one.position for one in shown])
        following = None
        if more:
            last = shown[-1].began_at
            seen = sum(one.began_at == last for one in shown) + (passed if until == last + 1 else 0)
            following = f"{last}-{seen}"
        it = LinkAttempts(
            attempts=[
                LinkAttempt(
                    at=one.began_at,
                    uid=uids.get(one.position),
                    events=one.entries,
                    number=one.tries,
                    outcome=Outcome(one.outcome),
                    status=one.status,
                    durations=Durations(
                        resolve=one.resolve, connect=one.connect, firstByte=one.first_byte, total=one.total
                    ),
                    excerpt=one.excerpt,
                    reason=told_to_receiver(one.reason),
                    fault=None if one.outcome in (Outcome.DELIVERED, Outcome.SKIPPED) else fault_of(one.reason),
                )
                for one in shown
            ],
            next=following,
        )
        return self._answer(visit, it, "link_attempts.html", here="Attempts")

    async def dead(self, request: web.Request, visit: LinkVisit) -> web.Response:
        reader, limit = reader_name(visit.link.sink), read_limit(request.query.get("limit"))
        cursor = request.query.get("cursor")
        after = 0 if cursor is None else await self._dead_at(reader, cursor, or_first=True)
        if after is None:
            raise refused("cursor", cursor or "", "the next of the page before")
        rows = await self._log.rows(reader, dead=True, after=after, limit=limit + 1)
        shown, more = rows[:limit], rows[limit:]
        entries: dict[int, Entry] = {}
        left = [row.position for row in shown]
        while left and (found := await self._log.fetch(left)):
            entries |= {entry.position: entry for entry in found}
            left = left[left.index(found[-1].position) + 1 :]
        known = [entries[row.position] for row in shown if row.position in entries]
        progress = await self._log.progress(reader)
        it = LinkDeadPage(
            count=0 if progress is None else progress.dead,
            dead=[
                LinkDead(
                    uid=None if (entry := entries.get(row.position)) is None else uid_text(entry.uid),
                    type=None if entry is None else entry.type,
                    receivedAt=None if entry is None else entry.received_at,
                    tries=row.tries,
                    reason=told_to_receiver(row.answer),
                    fault=fault_of(row.answer),
                )
                for row in shown
            ],
            # By its uid: a position would tell how much there is of others.
            next=uid_text(known[-1].uid) if more and known else None,
        )
        return self._answer(visit, it, "link_dead.html", here="Dead letters")

    async def test(self, request: web.Request, visit: LinkVisit) -> web.Response:
        link = visit.link
        await visit.given(request)
        with self._using(link):
            await self._links.note_use(link, "test")
            found = await self._management.test(link.sink, link.by)
        tried = found.tried or {}
        it = LinkTested(
            outcome=found.outcome,
            answer=told_to_receiver(found.answer) if found.outcome != "delivered" else "the receiver took it",
            status=tried.get("status"),
            durations=Durations(
                resolve=tried.get("resolve"),
                connect=tried.get("connect"),
                firstByte=tried.get("first_byte"),
                total=tried.get("total"),
            ),
            excerpt=tried.get("excerpt") or "",
            seconds=found.seconds,
            uid=found.uid,
        )
        return self._answer(visit, it, "link_test.html", here="")

    async def rotate(self, request: web.Request, visit: LinkVisit) -> web.Response:
        link = visit.link
        asked = read_asked(LinkRotation, await visit.given(request))
        if not await self._can_rotate(link.sink):
            detail = "this webhook has no secret that can be replaced here; ask who gave you the link"
            raise RequestError(409, "Not here", detail)
        overlap = read_overlap(asked.overlap)
        stored = self._live.stored.get(link.sink)
        if stored is not None and stored.changed_by == link.by and 0 <= self._now() - stored.changed_at < _ROTATED:
            # Each secret is looked for in all that is sent.
            detail = "the secret was replaced by this link less than 10 minutes ago; try again later"
            raise RequestError(429, "Too many requests", detail, headers={"Retry-After": "600"})
        with self._using(link):
            await self._links.note_use(link, "rotate")
            made = await self._management.rotate(
                link.sink, link.by, overlap=overlap, secret=None, may_know=False, match=asked.version
            )
        assert made.secret is not None
        valid = [one.until for one in made.sink.valid(self._now())]
        it = LinkSecret(secret=made.secret, oldUntil=max(valid, default=None))
        return self._answer(visit, it, "link_secret.html", here="")

    async def replay(self, request: web.Request, visit: LinkVisit) -> web.Response:
        link = visit.link
        asked = read_asked(LinkReplayQuestion, await visit.given(request))
        statuses = {"dead": [Status.DEAD], "delivered": [Status.DELIVERED], "all": [*_OWN]}.get(asked.status)
        if statuses is None:
            raise refused("status", asked.status, "dead, delivered or all")
        times = {"received_from": self._moment("from", asked.from_), "received_to": self._moment("to", asked.to)}
        filter = {name: [str(one)] for name, one in times.items() if one is not None}
        told = ", ".join(str(one) for one in statuses)
        with self._using(link):
            await self._links.note_use(link, "replay", status=told)
            job = await self._replays.start(link.sink, Question(status=tuple(statuses), filter=filter), link.by)
        return self._done(visit, _replay(job), status=202, to="./")

    async def resend(self, request: web.Request, visit: LinkVisit) -> web.Response:
        link, asked = visit.link, read_asked(LinkResendQuestion, await visit.given(request))
        position = await self._dead_at(reader_name(link.sink), asked.uid)
        found = [] if position is None else await self._log.fetch([position])
        if not found:
            raise RequestError(404, "Not found", "No event of this uid was given up on here.")
        [entry] = found
        owned = self._deliveries.get(link.sink)
        delivery = None if owned is None else owned.present
        with self._using(link):
            await self._links.note_use(link, "resend", uid=uid_text(entry.uid))
            if delivery is None:
                # Another service delivers, and finds a replay; of what came in this millisecond.
                times = {"received_from": [str(entry.received_at)], "received_to": [str(entry.received_at + 1)]}
                await self._replays.start(link.sink, Question(status=(Status.DEAD,), filter=times), link.by)
            else:
                try:
                    await delivery.resend(entry)
                except ValueError:
                    raise RequestError(409, "Not now", "It is on its way already.") from None
        return self._done(visit, LinkResent(uid=uid_text(entry.uid)), status=200, to="dead")

    # Who asks, and how he is answered

    def _page(
        self, handler: Callable[[web.Request, LinkVisit], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The handler behind the check of the link; what is wrong is told in the form that is asked for."""

        async def handling(request: web.Request) -> web.Response:
            try:
                return await handler(request, await visit_of(request, self._links))
            except Exception as error:
                if not wants_page(request):
                    raise
                return _told(error)

        return handling

    @contextmanager
    def _using(self, link: Link) -> Iterator[None]:
        """A link is used for something.

        Raises:
            RequestError: 429, that is too often.
        """
        now = self._now()
        for id in [id for id, uses in self._uses.items() if not now - _MINUTE < uses[-1] <= now]:
            del self._uses[id]
        uses = self._uses.setdefault(link.id, deque(maxlen=_USES))
        if len(uses) == _USES and now - _MINUTE < uses[0] <= now:
            detail = f"A link does {_USES} things a minute at most; try again in a minute."
            raise RequestError(429, "Too many requests", detail, headers={"Retry-After": "60"})
        uses.append(now)
        with self._actions.taken(link.by):
            yield

    def _answer(self, visit: LinkVisit, it: BaseModel, template: str, **values: Any) -> web.Response:
        if not visit.wants_page:
            return json_answer(it.model_dump_json().encode())
        return page(template, it=it, sink=visit.link.sink, csrf=visit.csrf, **values)

    def _done(self, visit: LinkVisit, it: BaseModel, *, status: int, to: str) -> web.Response:
        if visit.wants_page:
            return web.Response(status=303, headers={**HEADERS, hdrs.LOCATION: to})
        return json_answer(it.model_dump_json().encode(), status=status)

    # What is known

    async def _state(self, link: Link) -> LinkState:
        name = link.sink
        owned = self._deliveries.get(name)
        delivery = None if owned is None else owned.present
        shot = None if delivery is None else delivery.snapshot()
        decided = shot.standing if shot is not None else await read(self._log, name)
        counts, lag = await self._counts(name, shot)
        since: int | None
        if shot is not None:
            state, since, answer = str(shot.state), shot.since, shot.answer
        else:
            is_decided = decided.state is not Decided.RUNNING
            # Elsewhere: that another service sends is nothing that the receiver sees.
            state = str(decided.state) if is_decided else "off" if owned is None else "running"
            since, answer = decided.since or None, decided.reason
        stored = self._live.stored.get(name)
        can_rotate = await self._can_rotate(name)
        job = await self._replays.look(name)
        return LinkState(
            sink=name,
            until=link.until,
            state=state,
            since=since,
            answer=told_to_receiver(answer) if state in ("down", "stopped") else None,
            isCaughtUp=not lag and not counts.held and not counts.inFlight,
            counts=counts,
            canRotate=can_rotate,
            version=tag(stored) if can_rotate and stored is not None else None,
            replay=None if job is None else _replay(job),
        )

    async def _counts(self, name: str, shot: Snapshot | None) -> tuple[LinkCounts, int]:
        """The counters, and how many entries it has not come to."""
        if shot is not None:
            one = shot.counts
            counts = LinkCounts(
                delivered=one.delivered, inFlight=one.in_flight, held=one.held, dead=one.dead, skipped=one.skipped
            )
            return counts, max(0, shot.lag)
        progress = await self._log.progress(reader_name(name))
        if progress is None:
            return LinkCounts(delivered=0, inFlight=None, held=0, dead=0, skipped=0), 0
        counts = LinkCounts(
            delivered=progress.delivered, inFlight=None, held=progress.held, dead=progress.dead,
            skipped=progress.skipped,
        )  # fmt: skip
        return counts, self._log.head - progress.cursor

    async def _can_rotate(self, name: str) -> bool:
        if name in self._live.configured:
            return False
        await self._live.take(name)
        stored = self._live.stored.get(name)
        if stored is None or stored.problem is not None:
            return False
        # Who signs with a private key is the service alone; its receivers have the public one.
        return any(not one.startswith("whsk_") for one in secrets_in(stored.given.get("secret", ())))

    async def _dead_at(self, reader: str, uid: str, *, or_first: bool = False) -> int | None:
        """The position of the dead event with this uid; ``None``: there is none. ``or_first``: of one that is not dead
        any more, its first entry's."""
        found = re.fullmatch(r"[0-9a-fA-F-]{32,36}", uid)
        try:
            key = bytes.fromhex(uid.replace("-", "")) if found else b""
        except ValueError:
            key = b""
        first: int | None = None
        position: int | None = await self._log.latest(key) if len(key) == 16 else None
        while position is not None:
            rows = await self._log.held_at(reader, [position])
            if rows and rows[0].due_at is None:
                return position
            first = position
            position = await self._log.before(key, position)
        return first if or_first else None

    def _moment(self, name: str, text: str) -> int | None:
        """A timestamp; one without its zone, as browsers give it, is of UTC."""
        if not text:
            return None
        local = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:\.\d+)?", text, re.ASCII)
        try:
            return read_timestamp(f"{text}Z" if local else text, self._now())
        except ValueError:
            raise refused(name, text, FORMS) from None


#: What a receiver may have sent again: what it was sent.
_OWN = (Status.DEAD, Status.HELD, Status.DELIVERED)


def told_to_receiver(reason: str) -> str:
    """What a receiver's people are told of an answer: what their side did, and nothing of the service's network."""
    if _ITS_OWN.match(reason) or reason in ("", UNANSWERED, AGAIN):
        return reason
    if reason.startswith(_CERTIFICATE):
        return reason.partition(";")[0]
    match fault_of(reason):
        case Fault.NETWORK:
            return "no connection could be made"
        case Fault.RECEIVER:
            return "the receiver did not take it"
    return "held back on the sender's side, whose operators know more"


def _replay(job: Job) -> LinkReplay:
    counts, problem = job.counts, job.problem
    if problem is not None:
        begin, colon, rest = problem.partition("the receiver is down: ")
        problem = f"{begin}{colon}{told_to_receiver(rest)}" if colon else "it waits, or has failed"
    return LinkReplay(
        state=str(job.state),
        startedAt=job.started_at,
        endedAt=job.ended_at,
        matched=counts.matched,
        renewed=counts.renewed,
        delivered=counts.delivered,
        dead=counts.dead,
        problem=problem,
    )


def _told(error: Exception) -> web.Response:
    """A page of what is wrong; what there is to say is said as everywhere."""
    problem = problem_of(error)
    if isinstance(error, RequestError):
        title, detail, back = error.title, error.detail, error.status not in (401, 404)
    else:
        title, detail, back = "Not now", "The service cannot answer now; try again later.", True
    return page("message.html", status=problem.status, title=title, detail=detail, back=back)
