"""In which ten minutes of the last four weeks a source was heard: a bit for each."""

from __future__ import annotations

from msgspec import Struct

#: Milliseconds of a period, and periods of a week.
PERIOD = 600_000
WEEK = 7 * 86_400_000 // PERIOD
#: Weeks that the present one is compared with.
WEEKS = 3

_KEPT = (1 << (WEEKS + 1) * WEEK) - 1


class Periods(Struct):
    """The periods in which something came."""

    #: Number of the newest one of them, from the epoch on.
    newest: int = 0
    #: As hexadecimal digits: bit n is the n-th period before the newest one.
    bits: str = "0"

    def heard(self, at: int) -> None:
        """Something came ``at`` this time, epoch milliseconds."""
        period, bits = at // PERIOD, int(self.bits, 16)
        ahead = period - self.newest
        if ahead > 0:
            # What is further ahead than all that is kept leaves nothing of it.
            bits = (bits << ahead if ahead < _KEPT.bit_length() else 0) | 1
            self.newest = period
        else:
            bits |= 1 << -ahead
        self.bits = f"{bits & _KEPT:x}"

    def set_right(self, last: int, now: int) -> None:
        """Forget what was heard later than ``last``, by a clock that was wrong; the newest is of ``now`` then."""
        if self.newest > last // PERIOD:
            bits = int(self.bits, 16) >> self.newest - now // PERIOD
            self.bits, self.newest = f"{bits:x}", now // PERIOD

    def usual(self, begin: int, end: int) -> int:
        """How many whole periods lie behind the one of ``begin`` and before ``end`` (epoch milliseconds) in which
        something usually comes: it came in the same period of the week one, two and three weeks before."""
        last = end // PERIOD - 1
        count = min(last - begin // PERIOD, _KEPT.bit_length())
        if count <= 0:
            return 0
        # Bit n is the n-th period before the last whole one.
        bits = _shifted(int(self.bits, 16), last - self.newest)
        found = (1 << count) - 1
        for week in range(1, WEEKS + 1):
            found &= bits >> week * WEEK
        return found.bit_count()


def _shifted(bits: int, ahead: int) -> int:
    if ahead >= 0:
        return bits << ahead if ahead < _KEPT.bit_length() else 0
    return bits >> -ahead
