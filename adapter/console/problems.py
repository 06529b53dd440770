"""What is wrong, as a page tells it: in the words that the API has for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiohttp import ClientError

from adapter.errors import RequestError, StoreError
from adapter.problem import answer


class Told(NamedTuple):
    """What a page says, and its status."""

    status: int
    title: str
    detail: str
    headers: Mapping[str, str] = {}
    hints: Sequence[str] = ()


def told_of(error: Exception) -> Told:
    """What is told of an error; one that nobody raised on purpose is logged."""
    problem = answer(error)
    if isinstance(error, RequestError):
        hints = error.extra.get("hints")
        said = [one for one in hints if isinstance(one, str)] if isinstance(hints, list) else []
        return Told(error.status, error.title, error.detail, error.headers, said)
    if isinstance(error, StoreError | ClientError | TimeoutError):
        return Told(503, "Not now", "The service cannot answer now; try again later.", {"Retry-After": "5"})
    return Told(problem.status, "Internal error", "The page failed for a reason inside the adapter; see its log.")
