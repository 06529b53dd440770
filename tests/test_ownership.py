"""Of several services over one log, one does what only one may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from adapter.errors import ClaimLost, ConfigError, StoreUnavailable
from adapter.log.memory import Memory, open_memory_log
from adapter.log.protocol import Claim, Claims
from adapter.ownership import open_ownership
from tests.delivery.virtual_time import in_virtual_time, now


class Work:
    """Counts who is at it, and how each was left."""

    def __init__(self) -> None:
        self.present: list[str] = []
        self.left: list[tuple[str, type[BaseException] | None]] = []
        self.moved = asyncio.Event()

    def of(self, owner: str) -> Callable[[Claim], AbstractAsyncContextManager[str]]:
        @asynccontextmanager
        async def work(claim: Claim) -> AsyncIterator[str]:
            self.present.append(owner)
            self.moved.set()
            reason: type[BaseException] | None = None
            try:
                yield owner
            except BaseException as error:
                reason = type(error)
                raise
            finally:
                self.present.remove(owner)
                self.left.append((owner, reason))
                self.moved.set()

        return work

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.moved.clear()
                await self.moved.wait()


class CutOff:
    """Claims of a store that does not answer for a while."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self.is_cut = False
        self.hangs = False

    async def claim(self, name: str, owner: str) -> Claim | None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_cut:
            raise StoreUnavailable("cut off")
        return await self._claims.claim(name, owner)

    async def release(self, claim: Claim) -> None:
        if self.is_cut:
            raise StoreUnavailable("cut off")
        await self._claims.release(claim)


@pytest.fixture
def work() -> Work:
    return Work()


async def test_work_has_begun_when_it_is_open_and_ends_with_it(work: Work) -> None:
    async with open_memory_log() as log, open_ownership(log, "sink", "a", work.of("a")) as ownership:
        assert (work.present, ownership.present) == (["a"], "a")
    assert work.left == [("a", None)]


async def test_the_other_one_takes_over_when_the_first_has_ended(work: Work) -> None:
    async with open_memory_log() as log:
        async with open_ownership(log, "sink", "a", work.of("a")):
            second = open_ownership(log, "sink", "b", work.of("b"))
            ownership = await second.__aenter__()
            assert (work.present, ownership.present) == (["a"], None)
        await work.until(lambda: work.present == ["b"])
        await second.__aexit__(None, None, None)
    assert work.left == [("a", None), ("b", None)]


@pytest.mark.parametrize("hangs", [False, True])
@in_virtual_time
async def test_who_cannot_renew_stops_and_another_takes_over(work: Work, hangs: bool) -> None:
    memory = Memory()
    async with open_memory_log(memory, clock=now) as one, open_memory_log(memory, clock=now) as other:
        claims = CutOff(one)
        async with (
            open_ownership(claims, "sink", "a", work.of("a"), clock=now),
            open_ownership(other, "sink", "b", work.of("b"), clock=now),
        ):
            assert work.present == ["a"]
            claims.is_cut, claims.hangs = not hangs, hangs
            await work.until(lambda: work.present == ["b"])
            assert work.left == [("a", ClaimLost)]
            claims.is_cut = claims.hangs = False


@in_virtual_time
async def test_a_short_outage_changes_nothing(work: Work) -> None:
    async with open_memory_log(claim_seconds=15, clock=now) as log:
        claims = CutOff(log)
        async with open_ownership(claims, "sink", "a", work.of("a"), clock=now):
            claims.is_cut = True
            await asyncio.sleep(7)
            claims.is_cut = False
            await asyncio.sleep(12)
            assert (work.present, work.left) == (["a"], [])


async def test_work_that_cannot_begin_says_so_at_the_start() -> None:
    @asynccontextmanager
    async def work(claim: Claim) -> AsyncIterator[None]:
        raise ConfigError("sinks: no such folder")
        yield

    async with open_memory_log() as log:
        with pytest.raises(ConfigError, match="no such folder"):
            async with open_ownership(log, "sink", "a", work):
                pass


async def test_a_store_that_cannot_be_asked_is_an_error_at_the_start(work: Work) -> None:
    async with open_memory_log() as log:
        claims = CutOff(log)
        claims.is_cut = True
        with pytest.raises(StoreUnavailable):
            async with open_ownership(claims, "sink", "a", work.of("a")):
                pass
