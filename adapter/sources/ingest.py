"""``POST /ingest/{source}``: where providers push."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
import structlog
from aiohttp import hdrs, web
from multidict import CIMultiDict

from adapter.counts import EXCERPT, NO_SOURCE, IngestCounts, RefusalCounts
from adapter.errors import RequestError
from adapter.mapping.body import JSON, NotReadable, UnknownMedia
from adapter.problem import SECURITY_HEADERS, answer
from adapter.sources import sns
from adapter.sources.authenticated import AuthenticatedSources
from adapter.sources.budget import Budget, Share
from adapter.sources.intake import IngestSummary, Intake, Source, TooManyEvents
from adapter.sources.request_body import read_body, unpack
from adapter.sources.response import IngestResponse
from adapter.sources.sns import Subscriptions

_log = structlog.get_logger("adapter.ingest")

#: Made once: of every answer, all but the body is the same.
_ANSWERED = CIMultiDict({hdrs.CONTENT_TYPE: JSON, hdrs.SERVER: ""})

#: Answers a request that was posted to a source of this name.
Receive = Callable[[web.Request, str], Awaitable[web.StreamResponse]]

#: One answer for an unknown source and for wrong credentials, so that names cannot be tried out.
_REFUSED = RequestError(
    401,
    "Unauthorized",
    "No such source, or the request does not prove that it comes from it: present the source's token as its table says "
    "under `auth` (a bearer token, a basic password, a header, a signature, a signed token).",
    # Basic first: of several, some senders, such as Amazon SNS, look at the first one only.
    headers={"WWW-Authenticate": 'Basic realm="idp-adapter", Bearer realm="idp-adapter"'},
)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may be."""

    #: Bytes as it is sent, and once it is unpacked.
    sent: int
    unpacked: int
    #: Seconds until it is complete.
    timeout: float


def ingest_handler(
    intake: Intake,
    sources: AuthenticatedSources,
    budget: Budget,
    limits: BodyLimits,
    counts: IngestCounts,
    check: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.time,
) -> Receive:
    """What answers ``POST /ingest/{source}``. ``check`` raises what every post is refused with now, such as that the
    disk is nearly full; ``clock`` gives epoch seconds."""

    async def receive(request: web.Request, name: str) -> web.StreamResponse:
        addressed = sources[name]
        try:
            authenticator, source, headers, now = addressed.authenticator, addressed.source, request.headers, clock()
            no_user = await authenticator.seek_keys(headers) if authenticator.seeks_keys else None
            judgement = authenticator.judge(headers, now)
            if judgement.refusal is not None and not judgement.signatures:
                why = judgement.refusal if no_user is None else f"{judgement.refusal}; {no_user}"
                return refused(request, source, answer(_REFUSED), why, judgement.refusal)
            check()
            with budget.share(source.name if judgement.proven and source is not None else None) as share:
                body = await read_body(request, share, limit=limits.sent, timeout=limits.timeout)
                refusal = await authenticator.verify(judgement, headers, body, now) if judgement.signatures else None
                if source is None or refusal is not None:
                    why = refusal or "there is no such source"
                    return refused(request, source, answer(_REFUSED), why, why)
                if not judgement.proven:
                    share.prove(source.name)
                return await take(request, source, addressed.subscriptions, body, now, share)
        except Exception as error:
            known = str(error) if isinstance(error, RequestError | web.HTTPException) else None
            reason = error.title if isinstance(error, RequestError) else "Bad request"
            return refused(request, addressed.source, answer(error), known, reason)

    def refused(
        request: web.Request, source: Source | None, response: web.Response, why: str | None, reason: str
    ) -> web.Response:
        """What senders are refused, the operator wants to know: above all that a secret does not fit any more.
        ``reason`` is one of few, and holds nothing of the request."""
        name = NO_SOURCE if source is None else source.name
        counts.refused[name, response.status] += 1
        if source is not None and response.status < 500:
            counts.refusals.setdefault(name, RefusalCounts()).add(reason, request.remote, int(clock() * 1000))
        if why is not None:
            _log.warning("request_refused", source=name, status=response.status, why=why)
        return response

    async def take(
        request: web.Request, source: Source, subscriptions: Subscriptions, body: bytes, now: float, share: Share
    ) -> web.Response:
        headers = request.headers
        encoding = headers.get(hdrs.CONTENT_ENCODING)
        if encoding is not None:
            body = await unpack(body, encoding, share, limit=limits.unpacked)
        if sns.HEADER in headers:
            notice = await subscriptions.take(source.name, headers[sns.HEADER], body)
            if notice is not None:
                counts.ignored.add(source.name, notice.what, 1, sample=(int(now * 1000), notice.topic[:EXCERPT]))
                return IngestResponse(IngestSummary(0, 0, 0, 1, [None]).as_answer())
        media = headers.get(hdrs.CONTENT_TYPE, JSON)
        if media != JSON:
            media = request.content_type
        try:
            summary = await intake.take(source, body, media, int(now * 1000))
        except NotReadable as error:
            raise RequestError(400, "Not readable", str(error)) from None
        except TooManyEvents as error:
            raise RequestError(413, "Body too large", str(error)) from None
        except UnknownMedia as error:
            raise RequestError(415, "Media type not supported", str(error)) from None
        wanted = source.table.answer(body, media, int(now * 1000))
        if wanted is not None:
            return web.Response(body=orjson.dumps(wanted), headers=_ANSWERED.copy())
        return IngestResponse(summary.as_answer())

    return receive


def challenge_handler(
    sources: AuthenticatedSources, clock: Callable[[], float] = time.time
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of ``GET /ingest/{source}``: tells a provider back what it asks when a hook is registered."""

    async def challenge(request: web.Request) -> web.StreamResponse:
        addressed = sources[request.match_info["source"]]
        if await addressed.authenticator.refusal(request.headers, b"", clock()) is not None or addressed.source is None:
            return answer(_REFUSED)
        rule = addressed.source.table.mapping.challenge
        question = None if rule is None else request.headers.get(rule.header)
        if rule is None or question is None:
            asked = "this provider asks nothing by GET" if rule is None else f"the header {rule.header} is missing"
            raise RequestError(400, "No challenge", f"{asked}; events are sent by POST")
        return web.json_response({rule.answer: question}, headers=SECURITY_HEADERS)

    return challenge
