"""How many answers are made at once, of each caller and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from adapter.errors import RequestError

#: When a refused caller may ask again, seconds.
RETRY_AFTER = "1"


class Slots:
    """So many at once; who asks for more is refused at once. What one of them holds is bounded, so all of them are."""

    def __init__(self, what: str, *, each: int, together: int | None = None) -> None:
        """``each``: of one caller; ``together``: of all, without a limit if ``None``. ``what`` they are, for people."""
        self._what = what
        self._each = each
        self._together = together
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, caller: str) -> Iterator[None]:
        """One of them, as long as the context lasts.

        Raises:
            RequestError: 429, the caller has as many as he may; 503, all together are as many as there may be.
        """
        if self._taken[caller] >= self._each:
            raise RequestError(
                429,
                "Too many requests",
                f"{self._each} {self._what} of this key are under way, which is the limit; wait for one of them",
                headers={"Retry-After": RETRY_AFTER},
            )
        if self._together is not None and self._taken.total() >= self._together:
            raise RequestError(
                503,
                "Too many requests",
                f"{self._together} {self._what} are under way, which is the limit; try again later",
                headers={"Retry-After": RETRY_AFTER},
            )
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]
