"""Bodies of every shape, grown by doubling: time is linear in the bytes, and nothing is held up, kept or lost."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.hostile.probe import cpu
from tests.hostile.shapes import FAMILIES, FORM, JSON, NDJSON, SHAPES, TEXT, Shape
from tests.hostile.stand import PROVIDERS, Stand, post
from tests.hostile.watches import Watch

pytestmark = [pytest.mark.hostile, pytest.mark.asyncio(loop_scope="module")]

#: What a body may be answered: taken, or refused for good, or told to come again.
ANSWERS = {200, 202, 400, 413, 415, 422, 503}
#: CPU time grows with the size to the power of this at most (2.6 for a doubling); what takes less than so many seconds
#: is not looked at.
STEEPEST = math.log2(2.6)
NOTICED = 0.05
#: The same in short, where others run beside it and two sizes are all there are: what grows with the square is told.
STEEPEST_IN_SHORT = math.log2(3.3)
#: A curve that is too steep is measured again, since others were answered meanwhile; the least times count.
TRIES = 3
#: Seconds that one answer may take at most, whatever the size.
LONGEST = 10.0


class Way(NamedTuple):
    """How a shape is sent."""

    source: str
    media: str
    packed: bool = False


def ways(shape: Shape, *, full: bool) -> Iterator[Way]:
    """Every way that a shape can be sent: as each media type, packed, and to each table (in short: one of them)."""
    if shape.packed:
        yield Way("keycloak", shape.media, packed=True)
        return
    yield Way("keycloak", shape.media)
    yield Way("keycloak", shape.media, packed=True)
    if shape.media == JSON:
        yield from (Way("keycloak", media) for media in (NDJSON, TEXT, FORM))
    if shape.media in (JSON, NDJSON):
        others = [source for source in PROVIDERS if source != "keycloak"]
        first = SHAPES.index(shape) % len(others)
        yield from (Way(source, shape.media) for source in (others if full else others[first : first + 1]))


def body_of(shape: Shape, way: Way, size: int) -> bytes:
    """The body as it is sent."""
    body = shape.make(size)
    if way.media == FORM != shape.media:
        body = b"json=" + quote(body, safe="[]{},:").encode()
    return gzip.compress(body, 1, mtime=0) if way.packed and not shape.packed else body


def sizes(way: Way, *, full: bool) -> list[int]:
    """The sizes to grow through; the first is large enough to be noticed where it is worse than linear."""
    if not full:
        return [64 << 10, 256 << 10] if way.source == "keycloak" and not way.packed else [128 << 10]
    return [1 << power for power in range(17, 24 if way.source == "keycloak" else 22)]


def steepness(times: Mapping[int, float]) -> float:
    """The power of the size with which time grows (least squares of the logarithms), of what is long enough."""
    points = [(math.log(size), math.log(seconds)) for size, seconds in times.items() if seconds > NOTICED]
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


async def grow(stand: Stand, watch: Watch, shape: Shape, way: Way, *, full: bool) -> None:
    """Send a shape one way in every size, and see that the times are those of something linear."""
    where = f"{shape.name!r} to {way.source} as {way.media}{' in gzip' if way.packed else ''}"
    times: dict[int, float] = {}
    for _ in range(TRIES):
        for size in sizes(way, full=full):
            data = post(way.source, body_of(shape, way, size), way.media, packed=way.packed)
            before = cpu(stand.process.pid)
            answer = await watch.send(data)
            spent = cpu(stand.process.pid) - before
            right = answer.status in ANSWERS and (answer.status != 503 or "retry-after" in answer.headers)
            right = right and answer.seconds < LONGEST * stand.limits.margin
            if not right:
                told = f"{answer.status} after {answer.seconds:.1f} s, {answer.body[:150]!r}"
                watch.expect(False, f"{where}, {size:,} bytes: {told}")
                return
            times[size] = min(spent, times.get(size, math.inf))
        if (steep := steepness(times)) <= (STEEPEST if full else STEEPEST_IN_SHORT):
            return
    told = ", ".join(f"{size:,}: {seconds * 1000:.0f} ms" for size, seconds in times.items())
    watch.expect(False, f"{where}: time grows with the power {steep:.2f} of the size: {told}")


@pytest.mark.parametrize("family", FAMILIES)
async def test_time_is_linear_in_the_bytes(stand: Stand, family: str, full: bool) -> None:
    async with stand.attacked("bodies", family, "time linear in the bytes; `body_limit`, `unpacked_limit`") as watch:
        for shape in SHAPES:
            if shape.family == family:
                for way in ways(shape, full=full):
                    await grow(stand, watch, shape, way, full=full)
