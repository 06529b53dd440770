from __future__ import annotations

import random

import pytest

_ROUNDS = "--crash-rounds"
_SEED = "--crash-seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(_ROUNDS, type=int, metavar="COUNT", help="rounds with each engine; default: some dozens in all")
    parser.addoption(_SEED, type=int, metavar="NUMBER", help="of the dice; default: another one each time")


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int | None:
    """How many rounds there are to be with each engine; ``None``: as few as are useful."""
    found: int | None = request.config.getoption(_ROUNDS, default=None)
    return found


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """What the dice of all rounds are made of."""
    given = request.config.getoption(_SEED, default=None)
    return random.randrange(10**6) if given is None else int(given)
