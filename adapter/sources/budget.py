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
from adapter.memory import return_free_pages
from adapter.problem import RETRY_AFTER

#: Bytes held by all requests above which free memory goes back to the system when they are given back.
_MUCH = 4 * 1024 * 1024


class _Account:
    """The bytes of one holder."""

    __slots__ = ("held", "limit", "name")

    def __init__(self, name: str | None, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.held = 0


class Budget:
    """Bytes that requests may hold: ``limit`` all together, half of it each holder, half of it all the unproven."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Bytes held now.
        self.held = 0
        self._unproven = _Account(None, limit // 2)
        self._accounts: dict[str | None, _Account] = {None: self._unproven}
        #: The unproven bodies that still arrive, the longest under way first.
        self._arriving: dict[Share, Callable[[], None]] = {}

    def share(self, holder: str | None) -> Share:
        """What one request holds, in a ``with`` block that lasts as long as the request. ``holder`` is a source or a
        key by its name; ``None``: nobody has proven yet who sends it."""
        return Share(self, self._accounts.get(holder) or self._account(holder))

    def _account(self, holder: str | None) -> _Account:
        account = self._accounts.get(holder)
        if account is None:
            account = self._accounts[holder] = _Account(holder, self.limit // 2)
        return account

    def _make_room(self, share: Share, account: _Account, count: int) -> None:
        """Have unproven bodies give way, so that ``share`` may hold ``count`` bytes more.

        Raises:
            RequestError: 503, it may not now.
        """
        if account is self._unproven:
            while account.held + count > account.limit:
                self._break_off_oldest(share)
        elif account.held + count > account.limit and account.held > share.held:
            # A holder's only request has the limits of its body; held against this one it could never succeed.
            raise busy(f"the requests of {account.name} together hold as many bytes as they may")
        while self.held + count > self.limit:
            self._break_off_oldest(share)

    def _break_off_oldest(self, share: Share) -> None:
        oldest = next(iter(self._arriving), share)
        if oldest is share:
            raise busy("all requests together hold as many bytes as they may")
        broken_off = self._arriving.pop(oldest)
        oldest.release()
        broken_off()


class Share:
    """What one request holds of a `Budget`. Use it as a context manager, so that all is given back at the end."""

    __slots__ = ("_account", "_budget", "held")

    def __init__(self, budget: Budget, account: _Account) -> None:
        self._budget = budget
        self._account = account
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
        budget, account = self._budget, self._account
        if account.held + count > account.limit or budget.held + count > budget.limit:
            budget._make_room(self, account, count)
        budget.held += count
        account.held += count
        self.held += count

    def give(self, count: int) -> None:
        """Give ``count`` of the held bytes back."""
        self._budget.held -= count
        self._account.held -= count
        self.held -= count

    def release(self) -> None:
        """Give back all of it."""
        budget, held = self._budget, self.held
        before = budget.held
        budget.held -= held
        self._account.held -= held
        self.held = 0
        if before > _MUCH >= budget.held:
            return_free_pages()

    def prove(self, holder: str) -> None:
        """The bytes are ``holder``'s from now on.

        Raises:
            RequestError: 503, it may not hold so many more now.
        """
        count = self.held
        self.give(count)
        self._account = self._budget._account(holder)
        self.take(count)

    def arriving(self, broken_off: Callable[[], None]) -> None:
        """Its body is under way: if it has to give way to another, its bytes count as given back, and ``broken_off`` is
        called, which lets go of them. Does nothing where the sender is known: it does not give way."""
        if self._account is self._budget._unproven:
            self._budget._arriving[self] = broken_off

    def arrived(self) -> None:
        """Its body is not under way any more."""
        self._budget._arriving.pop(self, None)


def busy(why: str) -> RequestError:
    """The answer where there is no room for a request now."""
    return RequestError(
        503, "Busy", f"{why}; nothing of this request was stored, send it again", headers={"Retry-After": RETRY_AFTER}
    )
