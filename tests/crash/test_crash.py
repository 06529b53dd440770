"""A service that is killed at every named point, again and again: nothing that was answered with 202 is lost, what was
under way comes again and no more of it, and all books are right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash.points import POINTS, Point
from tests.crash.receiver import diced_receiver
from tests.crash.rounds import Rounds, open_program

pytestmark = [pytest.mark.crash, pytest.mark.timeout(3600)]

#: Rounds between two looks at everything.
EVERY = 12
#: Rounds with a log in a file and in PostgreSQL, where nobody asks for more.
FILE, POSTGRESQL = 28, 6


def chosen(points: Sequence[Point], seed: int, rounds: int) -> list[Point]:
    """Which points are used: all before any is used again."""
    order = [*points]
    random.Random(seed).shuffle(order)
    return (order * (rounds // len(order) + 1))[:rounds]


async def kill_at(
    points: Sequence[Point], engine: str, url: str | None, folder: Path, seed: int, *, removes: bool
) -> None:
    dice = random.Random(seed)
    print(f"--crash-seed {seed}")
    async with diced_receiver(dice) as receiver, open_program(folder, engine) as program:
        rounds = Rounds(program, receiver, dice, folder, engine, url, removes=removes)
        await rounds.prepare()
        for number, point in enumerate(points, 1):
            await rounds.run(point)
            if number % EVERY == 0:
                await rounds.check()
                print(f"{engine}: {rounds.kills} kills, {rounds.events} events; came again: {dict(rounds.again)}")
        await rounds.check()
    print(f"{engine}: {rounds.kills} kills, {rounds.events} events; came again: {dict(rounds.again)}")
    assert not rounds.missed


async def test_killed_at_points_with_a_log_in_a_file(tmp_path: Path, rounds: int | None, seed: int) -> None:
    points = [one for one in POINTS["sqlite"] if one.asked != "retention"]
    await kill_at(chosen(points, seed, rounds or FILE), "sqlite", None, tmp_path, seed, removes=False)


async def test_killed_while_events_are_removed(tmp_path: Path, rounds: int | None, seed: int) -> None:
    points = [one for one in POINTS["sqlite"] if one.asked == "retention"]
    await kill_at(chosen(points, seed, (rounds or 0) // 8 or len(points)), "sqlite", None, tmp_path, seed, removes=True)


async def test_killed_at_points_with_a_log_in_postgresql(
    database_url: str, tmp_path: Path, rounds: int | None, seed: int
) -> None:
    points = [one for one in POINTS["postgresql"] if one.asked != "retention"]
    await kill_at(chosen(points, seed, rounds or POSTGRESQL), "postgresql", database_url, tmp_path, seed, removes=False)
