"""How often somebody may try to sign in."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from adapter.callers import address_of
from adapter.errors import RequestError

#: Tries that fail within so many seconds: from one address, and from all.
OF_ADDRESS, OF_ALL, WITHIN = 10, 200, 300.0
#: Addresses that are remembered.
_ADDRESSES = 10_000

_log = structlog.get_logger("adapter.console")


@dataclass(slots=True)
class _Try:
    #: Of who tries; ``None``: it is not known.
    address: str | None
    has_failed: bool = False

    def failed(self) -> None:
        self.has_failed = True


class Tries:
    """Counts tries that failed."""

    def __init__(self, clock: Callable[[], float], *, is_behind_proxy: bool) -> None:
        """``clock`` gives seconds; ``is_behind_proxy``: like that of `address_of`."""
        self._clock = clock
        self._is_behind_proxy = is_behind_proxy
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=OF_ALL)

    @contextmanager
    def one(self, request: web.Request, *, guesses: bool = False) -> Iterator[_Try]:
        """One try. ``guesses``: what is tried may be what a person made up, so it counts among those of all, too; what
        nobody can guess stays a way in while others try.

        Raises:
            RequestError: 429, there were too many.
        """
        caller, now = address_of(request, is_behind_proxy=self._is_behind_proxy), self._clock()
        address = _network(caller)
        of_address = self._failed.get(address, deque())
        counted = [(of_address, OF_ADDRESS), *([(self._all, OF_ALL)] if guesses else [])]
        for failed, most in counted:
            while failed and now - failed[0] >= WITHIN:
                failed.popleft()
            if len(failed) >= most:
                wait = max(1, round(WITHIN - (now - failed[0])))
                detail = f"Too many tries to sign in have failed; try again in {wait} seconds."
                raise RequestError(429, "Too many tries", detail, headers={"Retry-After": str(wait)})
        attempt = _Try(caller)
        # Counted before it is known: many at the same time are no way around.
        for failed, _ in counted:
            failed.append(now)
        self._failed[address] = of_address
        self._failed.move_to_end(address)
        while len(self._failed) > _ADDRESSES:
            self._failed.popitem(last=False)
        try:
            yield attempt
        finally:
            if attempt.has_failed:
                _log.warning("sign_in_refused", address=address)
            else:
                for failed, _ in counted:
                    if now in failed:
                        failed.remove(now)


def _network(caller: str | None) -> str:
    """By what tries are counted: an address, or a network of IPv6 that one customer has."""
    if caller is None:
        return "unknown"
    address = ipaddress.ip_address(caller)
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else caller
