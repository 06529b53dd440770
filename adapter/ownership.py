"""Being the only one who does something: work that runs while a claim is held.

Each of several services over one log asks for the claim until it gets it, works, and renews it meanwhile. It stops
working before the claim's time is over if it could not be renewed. So two of them work at once only if one was stopped
or cut off in the middle of it; and what that one writes then is refused, since its token is not the latest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Generic, TypeVar

import structlog

from adapter.errors import AdapterError, ClaimLost, StoreError
from adapter.log.protocol import Claim, Claims

#: How often a claim is renewed while it lasts, and how often it is asked for while somebody else has it, seconds.
RENEWALS, ASKING = 3, 1.0

_log = structlog.get_logger("adapter.ownership")

T = TypeVar("T")


class Ownership(Generic[T]):
    """Work that only one does at a time. Made by `open_ownership`."""

    def __init__(
        self,
        claims: Claims,
        name: str,
        owner: str,
        work: Callable[[Claim], AbstractAsyncContextManager[T]],
        clock: Callable[[], float],
    ) -> None:
        #: What works; ``None`` while another one does.
        self.present: T | None = None
        self._claims = claims
        self._name = name
        self._owner = owner
        self._work = work
        self._clock = clock
        self._ending = asyncio.Event()

    async def run(self, tried: asyncio.Future[None]) -> None:
        """Work whenever this is the one, until `end`. ``tried`` is done when it has tried for the first time, with the
        error that kept it from working, if there was one."""
        while not self._ending.is_set():
            try:
                asked_at = self._clock()
                claim = await self._claims.claim(self._name, self._owner)
                if claim is not None:
                    await self._work_while(claim, asked_at, tried)
            except ClaimLost:
                _log.warning("claim_lost", name=self._name)
            except AdapterError as error:
                if not tried.done():
                    tried.set_exception(error)
                    return
                _log.warning("claim_failed", name=self._name, problem=str(error))
            except Exception:
                _log.exception("claim_failed", name=self._name)
            if not tried.done():
                tried.set_result(None)
            await self._pause(ASKING)

    def end(self) -> None:
        """Stop working, and leave the claim to others."""
        self._ending.set()

    async def _work_while(self, claim: Claim, asked_at: float, tried: asyncio.Future[None]) -> None:
        """
        Raises:
            ClaimLost: somebody else may do it now.
        """
        try:
            async with self._work(claim) as self.present:
                _log.info("claim_held", name=self._name, token=claim.token)
                if not tried.done():
                    tried.set_result(None)
                await self._renew(claim, asked_at)
        finally:
            self.present = None
            with suppress(StoreError):
                await self._claims.release(claim)

    async def _renew(self, claim: Claim, asked_at: float) -> None:
        """Keep the claim until the end.

        Raises:
            ClaimLost: it could not be kept.
        """
        if claim.seconds is None:
            await self._ending.wait()
            return
        ends_at = asked_at + claim.seconds
        while not await self._pause(claim.seconds / RENEWALS):
            asked_at = self._clock()
            renewed: Claim | None = claim
            try:
                async with asyncio.timeout(max(0.0, ends_at - asked_at)):
                    renewed = await self._claims.claim(self._name, self._owner)
                    ends_at = asked_at + claim.seconds
            except (TimeoutError, StoreError) as error:
                _log.warning("claim_not_renewed", name=self._name, problem=str(error) or "no answer in time")
            if renewed is None or renewed.token != claim.token or self._clock() >= ends_at:
                raise ClaimLost(f"{self._name}: somebody else may do it now")

    async def _pause(self, seconds: float) -> bool:
        """Wait; whether the end came meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        return self._ending.is_set()


@asynccontextmanager
async def open_ownership(
    claims: Claims,
    name: str,
    owner: str,
    work: Callable[[Claim], AbstractAsyncContextManager[T]],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Ownership[T]]:
    """Do some work whenever nobody else does, while the context lasts. ``owner`` tells the services apart; ``work`` is
    entered with each claim that is got, and left with `ClaimLost` when that is lost. ``clock`` gives seconds.

    Raises:
        AdapterError: the work could be begun, and failed to.
    """
    ownership = Ownership(claims, name, owner, work, clock)
    tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(ownership.run(tried), name=f"ownership of {name}")
    try:
        await tried
        yield ownership
    finally:
        ownership.end()
        await asyncio.gather(running, return_exceptions=True)
