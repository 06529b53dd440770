"""The bytes that requests hold in memory: bounded for all of them together, and for each holder.

A request takes bytes from the budget as they arrive and as they are unpacked, and gives all of them back when it ends.
What nobody has proven yet to come from a source has one pool, whatever name it was sent to, so that a full pool tells
nothing about names. In that pool the body that is under way for longest gives way to a new one: whoever holds bodies
open without a credential cannot keep out senders who prove themselves by a signature over the body.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from adapter.errors import RequestError
from adapter.problem import RETRY_AFTER


class Budget:
    """Bytes that requests may hold: ``limit`` all together, half of it each holder, half of it all the unproven."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Of one holder, and of all bodies that are not proven yet.
        self.part = limit // 2
        #: Bytes held now.
        self.held = 0
        self._by_holder: dict[str, int] = {}
        self._unproven = 0
        #: The unproven bodies that still arrive, the longest under way first.
        self._arriving: dict[Share, Callable[[RequestError], None]] = {}

    def share(self, holder: str | None) -> Share:
        """What one request holds, in a ``with`` block that lasts as long as the request. ``holder`` is a source or a
        key by its name; ``None``: nobody has proven yet who sends it."""
        return Share(self, holder)

    def _add(self, holder: str | None, count: int) -> None:
        self.held += count
        if holder is None:
            self._unproven += count
            return
        held = self._by_holder.get(holder, 0) + count
        if held:
            self._by_holder[holder] = held
        else:
            self._by_holder.pop(holder, None)

    def _room_for(self, share: Share, count: int) -> None:
        """Check that ``share`` may hold ``count`` bytes more; unproven bodies give way.

        Raises:
            RequestError: 503, it may not now.
        """
        holder = share.holder
        if holder is None:
            while self._unproven + count > self.part:
                self._break_off_oldest(share)
        else:
            held = self._by_holder.get(holder, 0)
            # A holder's only request has the limits of its body; held against this one it could never succeed.
            if held + count > self.part and held > share.held:
                raise busy(f"the requests of {holder} together hold as many bytes as they may")
        while self.held + count > self.limit:
            self._break_off_oldest(share)

    def _break_off_oldest(self, share: Share) -> None:
        oldest = next(iter(self._arriving), share)
        error = busy("all requests together hold as many bytes as they may")
        if oldest is share:
            raise error
        broken_off = self._arriving.pop(oldest)
        oldest.release()
        broken_off(error)


class Share:
    """What one request holds of a `Budget`. Use it as a context manager, so that all is given back at the end."""

    __slots__ = ("_budget", "held", "holder")

    def __init__(self, budget: Budget, holder: str | None) -> None:
        self._budget = budget
        self.holder = holder
        #: Bytes held now.
        self.held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def take(self, count: int) -> None:
        """Hold ``count`` bytes more.

        Raises:
            RequestError: 503, there is no room now; what was held before still is.
        """
        self._budget._room_for(self, count)
        self._budget._add(self.holder, count)
        self.held += count

    def give(self, count: int) -> None:
        """Give ``count`` of the held bytes back."""
        self.held -= count
        self._budget._add(self.holder, -count)

    def release(self) -> None:
        """Give back all of it."""
        if self.held:
            self.give(self.held)

    def prove(self, holder: str) -> None:
        """The bytes are ``holder``'s from now on.

        Raises:
            RequestError: 503, it may not hold so many more now.
        """
        count = self.held
        self.release()
        self.holder = holder
        self.take(count)

    def arriving(self, broken_off: Callable[[RequestError], None]) -> None:
        """Its body is under way: if it has to give way, its bytes count as given back, and ``broken_off`` is called
        with the error to answer. Does nothing where the sender is known."""
        if self.holder is None:
            self._budget._arriving[self] = broken_off

    def arrived(self) -> None:
        """Its body is not under way any more."""
        self._budget._arriving.pop(self, None)


def busy(why: str) -> RequestError:
    """The answer where there is no room for a request now."""
    return RequestError(
        503, "Busy", f"{why}; nothing of this request was stored, send it again", headers={"Retry-After": RETRY_AFTER}
    )
