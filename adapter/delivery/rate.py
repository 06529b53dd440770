"""How fast a sink may be sent to: a bucket of tokens, one for each event. No task and no timer."""

from __future__ import annotations

from collections.abc import Callable

#: Events that may go at once, as the seconds in which the rate would let them go; at least one.
BURST = 0.05
#: A sink is catching up while its place is more entries than this behind the end of the log.
FAR_BEHIND = 1000
#: What sums of fractions of a token may lack: a wait for that is no time that a clock can show.
_ROUNDED = 1e-6


class Pace:
    """The pace of one sink: at most ``rate`` events a second (``None``: any number), and at most ``catch_up`` while it
    is far behind. A batch may go as soon as one of it may, and what it was too large is waited for after it."""

    def __init__(
        self,
        rate: float | None,
        catch_up: float | None,
        *,
        lag: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        """``lag`` gives how many entries it is behind, ``clock`` seconds that only grow."""
        self._rate = rate
        self._catch_up = catch_up
        self._lag = lag
        self._clock = clock
        self._tokens = 1.0
        self._filled_at = clock()

    @property
    def is_bounded(self) -> bool:
        """Whether there is any rate to keep to."""
        return self._rate is not None or self._catch_up is not None

    @property
    def rate(self) -> float | None:
        """Events a second that may go now; ``None``: any number."""
        if self._catch_up is not None and self._lag() > FAR_BEHIND:
            return self._catch_up if self._rate is None else min(self._rate, self._catch_up)
        return self._rate

    def wait(self) -> float:
        """Seconds until something may go; 0: now."""
        rate = self.rate
        now = self._clock()
        passed, self._filled_at = max(0.0, now - self._filled_at), now
        if rate is None:
            self._tokens = 1.0
            return 0.0
        most = max(1.0, rate * BURST)
        self._tokens = min(most, self._tokens + passed * rate)
        if self._tokens >= 1.0 - _ROUNDED:
            return 0.0
        # Half a burst is waited for, so that a fast sink does not wake up for each event.
        return (max(1.0, most / 2) - self._tokens) / rate

    def spend(self, entries: int) -> None:
        """So many go."""
        self._tokens -= entries
