"""The writer of a log, with a point at which it ends: ENGINE, NAME of the point, TURN."""

from __future__ import annotations

import os
import signal
import sys

from adapter.log.sqlite import writer
from tests.crash.points import POINTS, Dies, arm
from tests.crash.program import tell


def main(name: str, turn: int) -> None:
    (point,) = [one for one in POINTS["sqlite"] if one.name == name]

    def die() -> None:
        service = os.getppid()
        tell(process=service, died_at=name)
        if point.dies is Dies.BOTH:
            os.kill(service, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    arm(point, turn, die)
    writer.main()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
