"""Whether the log's files are damaged: said once, by whoever meets it first, and true until the log is opened again."""

from __future__ import annotations

import structlog

from adapter.errors import StoreDamaged

_log = structlog.get_logger(__name__)


class Damage:
    """What is wrong with the files of a log that is open."""

    def __init__(self) -> None:
        #: With the name of the file; ``None`` as long as nobody met anything.
        self.problem: str | None = None

    def meet(self, problem: str) -> None:
        """Something is wrong; the first one to say so is believed."""
        if self.problem is None:
            self.problem = problem
            _log.error("log_damaged", problem=problem)

    def refuse(self) -> None:
        """
        Raises:
            StoreDamaged: the log is damaged.
        """
        if self.problem is not None:
            raise StoreDamaged(self.problem)
