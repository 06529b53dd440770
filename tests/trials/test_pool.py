"""Works on what callers brought: done, refused, or broken off, and never in the way of the service."""

from __future__ import annotations

import asyncio
import pickle
import signal
import subprocess
from collections.abc import AsyncIterator, Callable

import pytest
import structlog.testing

from adapter.errors import RequestError
from adapter.subprocesses import command, environment
from adapter.trials.pool import PLACES, TrialFailed, Trials
from adapter.trials.process import ANSWER_SIZE, LARGE, MEMORY, TRACEBACK_SIZE
from tests.trials import works


@pytest.fixture
async def trials() -> AsyncIterator[Trials]:
    trials = Trials(timeout=60.0)
    yield trials
    await trials.close()


async def refusal(trials: Trials, work: Callable[..., bytes], *arguments: object) -> RequestError:
    with pytest.raises(RequestError) as raised:
        await trials.run(work, *arguments)
    return raised.value


async def test_works_are_done_one_after_the_other_in_one_process(trials: Trials) -> None:
    answers = await asyncio.gather(*(trials.run(works.echo, str(number)) for number in range(10)))
    assert answers == [str(number).encode() for number in range(10)]
    assert await trials.run(works.whoami) == await trials.run(works.whoami) == str(trials.process_id).encode()


async def test_a_refusal_is_told_as_it_was_raised(trials: Trials) -> None:
    error = await refusal(trials, works.refuse)
    assert (error.status, error.title, error.detail) == (409, "Name is taken", "choose another")
    assert await trials.run(works.echo, "on") == b"on"


@pytest.mark.parametrize("work", [works.spin, works.match_for_minutes])
async def test_a_work_that_takes_too_long_is_broken_off_and_the_next_one_is_done(work: Callable[[], bytes]) -> None:
    trials = Trials(timeout=3.0)
    error = await refusal(trials, work)
    assert (error.status, error.title) == (422, "Trial took too long")
    assert await trials.run(works.echo, "on") == b"on"
    await trials.close()


async def test_a_work_that_takes_too_much_memory_is_refused(trials: Trials) -> None:
    error = await refusal(trials, works.take, MEMORY)
    assert (error.status, error.detail) == (422, f"it needs more than {MEMORY >> 20} MiB of memory")
    assert await trials.run(works.echo, "on") == b"on"


async def test_memory_that_a_work_keeps_is_given_back_with_its_process(trials: Trials) -> None:
    first = await trials.run(works.whoami)
    await trials.run(works.keep, LARGE)
    assert await trials.run(works.whoami) != first


async def test_how_large_the_service_is_does_not_matter(trials: Trials) -> None:
    large = b"x" * 2 * LARGE
    assert await trials.run(works.whoami) == await trials.run(works.whoami)
    assert large


async def test_a_process_that_dies_of_a_work_is_started_again(trials: Trials) -> None:
    error = await refusal(trials, works.die)
    assert (error.status, error.title) == (422, "Trial refused")
    assert await trials.run(works.echo, "on") == b"on"


async def test_an_answer_that_is_too_large_is_refused(trials: Trials) -> None:
    assert len(await trials.run(works.answer, ANSWER_SIZE)) == ANSWER_SIZE
    assert (await refusal(trials, works.answer, ANSWER_SIZE + 1)).title == "Answer too large"


async def test_no_more_of_an_answer_is_taken_in_whatever_the_process_says(trials: Trials) -> None:
    error = await refusal(trials, works.lie, 1 << 40)
    assert (error.status, error.detail) == (422, "its process gave an answer that is too large")
    assert await trials.run(works.echo, "on") == b"on"


async def test_a_long_text_in_an_error_of_ours_is_cut(trials: Trials) -> None:
    with structlog.testing.capture_logs() as logs, pytest.raises(TrialFailed):
        await trials.run(works.fail_at_length, ANSWER_SIZE + 1)
    [line] = logs
    assert len(line["exception"]) <= TRACEBACK_SIZE


async def test_works_that_wait_are_not_held_a_second_time(trials: Trials) -> None:
    held: list[int] = []

    class Watched:
        def __reduce__(self) -> tuple[object, ...]:
            held.append(len(held))
            return str, ("on",)

    first = asyncio.ensure_future(trials.run(works.echo, Watched()))
    others = [asyncio.ensure_future(trials.run(works.echo, Watched())) for _ in range(5)]
    await first
    assert len(held) < 6
    await asyncio.gather(*others)
    assert len(held) == 6


async def test_an_error_of_ours_is_no_answer_to_the_caller(trials: Trials) -> None:
    with pytest.raises(TrialFailed, match="fail"):
        await trials.run(works.fail)


async def test_what_is_printed_is_no_answer(trials: Trials) -> None:
    assert await trials.run(works.chatter) == b"answer"


def test_so_many_may_wait_and_no_more() -> None:
    trials = Trials(timeout=60.0)
    places = [trials.place() for _ in range(PLACES)]
    for place in places:
        place.__enter__()
    with pytest.raises(RequestError) as refused, trials.place():
        pass
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "5"})
    places[0].__exit__(None, None, None)
    with trials.place():
        pass


async def test_the_end_waits_for_no_work(trials: Trials) -> None:
    await trials.run(works.echo, "begun")
    waiting = [asyncio.ensure_future(trials.run(works.spin)) for _ in range(3)]
    await asyncio.sleep(0)
    await trials.close()
    for one in waiting:
        with pytest.raises(RequestError) as raised:
            await one
        assert raised.value.status == 503


async def test_who_is_cancelled_ends_the_work(trials: Trials) -> None:
    first = await trials.run(works.whoami)
    cancelled = asyncio.ensure_future(trials.run(works.spin))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await trials.run(works.whoami) != first


def started() -> subprocess.Popen[bytes]:
    """The process without a service that would kill it."""
    return subprocess.Popen(command("adapter.trials.process"), stdin=subprocess.PIPE, env=environment())


def test_without_the_service_a_work_ends_soon_after_its_deadline() -> None:
    call = pickle.dumps((0.1, works.spin, ()))
    with started() as process:
        assert process.stdin is not None
        process.stdin.write(len(call).to_bytes(8) + call)
        process.stdin.flush()
        assert process.wait(60) == -signal.SIGALRM


def test_without_a_work_it_ends_with_the_service() -> None:
    with started() as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
