"""Whether the service lives, and whether it can take events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.operation import Answer, Operation, json_answer
from adapter.log.protocol import Condition
from adapter.problem import MEDIA_TYPE, RETRY_AFTER, problem

#: Seconds for which one trial of the store answers all who ask, so that asking costs no disk.
TRIAL_LIFETIME = 1.0


class Alive(BaseModel):
    """The service lives."""

    status: Literal["ok"]


class Ready(BaseModel):
    """The service can store events."""

    status: Literal["ready"]
    warnings: list[str] = Field(
        default_factory=list, description="Only if there are any: what somebody must look at although events are taken"
    )


class HealthPages:
    """Answers for the service; needs no token and tells nothing but yes or no, and what somebody must look at: of the
    log the names of its files, not what is in them or where they lie.

    ``warnings`` gives what is wrong without keeping the service from taking events, a line each; it is shown to
    everybody. ``refusal`` says why no events are taken although the store could write.
    """

    def __init__(
        self,
        log: Condition,
        warnings: Callable[[], Sequence[str]] = tuple,
        refusal: Callable[[], str | None] = lambda: None,
        lifetime: float = TRIAL_LIFETIME,
    ) -> None:
        self._log = log
        self._refusal = refusal
        self._warnings = warnings
        self._lifetime = lifetime
        self._tried_at = float("-inf")
        self._problem: str | None = None
        self._trial = asyncio.Lock()

    def operations(self) -> list[Operation]:
        not_ready = Answer("The store cannot write.", (MEDIA_TYPE,))
        return [
            Operation(
                "GET",
                "/healthz",
                self.live,
                "Whether the service lives",
                {200: Answer("It does.", model=Alive)},
                public=True,
            ),
            Operation(
                "GET",
                "/readyz",
                self.ready,
                "Whether the service can store events",
                {200: Answer("It can.", model=Ready), 503: not_ready},
                public=True,
            ),
        ]

    async def live(self, request: web.Request) -> web.Response:
        return json_answer(b'{"status":"ok"}')

    async def ready(self, request: web.Request) -> web.Response:
        async with self._trial:
            if time.monotonic() - self._tried_at >= self._lifetime:
                self._problem = await self._log.writable()
                self._tried_at = time.monotonic()
        # Whoever met damage meanwhile is believed at once.
        damaged = self._log.damaged
        if damaged is not None:
            detail = f"The log is damaged, and events are refused until it is recovered: {damaged}"
            return problem(503, "Not ready", detail)
        if self._problem is None and (refusal := self._refusal()) is not None:
            return problem(503, "Not ready", refusal, headers={"Retry-After": RETRY_AFTER})
        if self._problem is None:
            warnings = list(self._warnings())
            return json_answer(orjson.dumps({"status": "ready", **({"warnings": warnings} if warnings else {})}))
        detail = f"The store cannot write: {self._problem}"
        return problem(503, "Not ready", detail, headers={"Retry-After": RETRY_AFTER})
