"""A packed body is unpacked in pieces: bounded in bytes and members, charged as it grows, and others get a turn."""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib

import pytest

from adapter.errors import RequestError
from adapter.sources.budget import Budget
from adapter.sources.request_body import MEMBERS_LIMIT, unpack

MIB = 1024 * 1024


async def unpacked(body: bytes, limit: int = 8 * MIB, budget: Budget | None = None, encoding: str = "gzip") -> bytes:
    with (budget or Budget(64 * MIB)).share("a") as share:
        share.take(len(body))
        result = await unpack(body, encoding, share, limit=limit)
        assert share.held == len(result)
        return result


async def refused(status: int, body: bytes, limit: int = 8 * MIB, budget: Budget | None = None) -> RequestError:
    with pytest.raises(RequestError) as found:
        await unpacked(body, limit, budget)
    assert found.value.status == status
    return found.value


@pytest.mark.parametrize("text", [b"", b"{}", b" " * 3_000_000, os.urandom(700_000), b"ab" * 131_072])
async def test_what_was_packed_comes_out(text: bytes) -> None:
    assert await unpacked(gzip.compress(text)) == text
    half = len(text) // 2
    assert await unpacked(gzip.compress(text[:half]) + gzip.compress(b"") + gzip.compress(text[half:])) == text


async def test_no_bytes_are_no_bytes_and_identity_is_no_packing() -> None:
    assert await unpacked(b"") == b""
    assert await unpacked(b"[]", encoding="Identity") == b"[]"


@pytest.mark.parametrize("cut", [1, 8, 9, 20])
async def test_a_body_that_ends_in_the_middle_is_refused(cut: int) -> None:
    await refused(400, gzip.compress(b"x" * 100)[:-cut])
    await refused(400, gzip.compress(b"x" * 100) + gzip.compress(b"y" * 100)[:-cut])


async def test_what_is_not_gzip_is_refused() -> None:
    await refused(400, b"[]")
    await refused(400, zlib.compress(b"[]"))
    await refused(400, gzip.compress(b"[]") + b"rubbish")


async def test_as_many_members_as_may_be_and_no_more() -> None:
    member = gzip.compress(b"")
    assert await unpacked(member * MEMBERS_LIMIT) == b""
    error = await refused(413, member * (MEMBERS_LIMIT + 1))
    assert str(MEMBERS_LIMIT) in error.detail


async def test_it_ends_at_the_limit_and_not_after_unpacking_all() -> None:
    assert len(await unpacked(gzip.compress(b" " * MIB), limit=MIB)) == MIB
    budget = Budget(1000 * MIB)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, budget.held)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await refused(413, gzip.compress(b" " * 100 * MIB), 4 * MIB, budget)
    watching.cancel()
    assert 2 * MIB < most < 5 * MIB  # the watch got its turns, and never saw more
    assert budget.held == 0


async def test_what_is_unpacked_is_charged_as_it_grows() -> None:
    await refused(503, gzip.compress(b" " * 5 * MIB), 8 * MIB, Budget(4 * MIB))
