"""What reading a stretch of the log again came to, whichever tables read it: those in use, or a changed one that is
held against them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, Self

from pydantic import BaseModel, Field

from adapter.formats.text import shortened
from adapter.log.protocol import NewEntry, Revision, Stored
from adapter.model import Entry, uid_text
from adapter.workbench.compare import Verdict

#: Differences of each kind that are shown, and lines of each.
SAMPLES, LINES = 10, 20
#: Problems, and places in events, that are told apart; some hold what a provider sent.
PROBLEMS, PLACES = 20, 200
#: What all others are counted under.
OTHERS = "(others)"


class Tally(BaseModel):
    """What reading again came to, so far."""

    looked_at: int = Field(0, description="Entries that were read again")
    recovered: int = Field(0, description="Without an event until then, events now")
    corrected: int = Field(0, description="Events that read differently now")
    unchanged: int = Field(0, description="Events that read as before")
    quarantined: int = Field(0, description="Without an event, as before")
    kept: int = Field(0, description="Events that would not become one now; they stay as they are")
    added: int = Field(0, description="Further events of records that their rows make now; not looked at")


class Sample(BaseModel):
    """One difference."""

    uid: str
    received_at: int = Field(0, description="Arrival, epoch milliseconds")
    verdict: Verdict
    native_type: str | None
    type: str | None = Field(description="The type that it would have; null if it would have none")
    lines: list[str] = Field(description="What would be different: where, what it was, what it would be")


class Findings(BaseModel):
    """What reading again came to, and what was found by it."""

    counts: Tally = Field(default_factory=Tally)
    problems: Counter[str] = Field(
        default_factory=Counter, description="Why entries stay quarantined, or are kept, and how many"
    )
    fields: Counter[str] = Field(
        default_factory=Counter,
        description="Where events would differ: place in the event, and how many; not of a job that appends",
    )
    other_keys: int = Field(
        0, description="Of a changed table: events that would be known by other keys, so that a copy would be new"
    )
    samples: list[Sample] = Field(
        default_factory=list, description="Some of the differences of each kind; not of a job that appends"
    )

    def with_step(self, step: Step) -> Self:
        """The same after one more stretch."""
        tally = self.counts.model_dump()
        for verdict, count in step.counts.items():
            tally[verdict] += count
            tally["looked_at"] += count if verdict is not Verdict.ADDED else 0
        changed = {
            "counts": Tally(**tally),
            "problems": _added(self.problems, step.problems, PROBLEMS),
            "fields": _added(self.fields, step.fields, PLACES),
            "other_keys": self.other_keys + step.other_keys,
            "samples": _some(self.samples, step.samples),
        }
        return self.model_copy(update=changed)


@dataclass(slots=True)
class Step:
    """A stretch that was read again."""

    counts: Counter[Verdict] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    other_keys: int = 0
    samples: list[Sample] = field(default_factory=list)
    #: To be appended.
    revisions: list[Revision] = field(default_factory=list)
    #: Further events of records that were read again, in order: to be appended where the log has them not.
    further: list[NewEntry] = field(default_factory=list)

    def add(self, verdict: Verdict, problem: str | None) -> None:
        """An entry was read again; ``problem``: why it is no event."""
        self.counts[verdict] += 1
        if problem is not None:
            # Where in a text it was found makes no problem of its own.
            self.problems[shortened(problem.partition(": line ")[0])] += 1

    def found_copies(self, number: int) -> None:
        """So many of the entries that could be read are copies of events that came again since."""
        self.counts[Verdict.RECOVERED] -= number
        self.counts[Verdict.QUARANTINED] += number
        self.problems["it is a copy of an event that came again since"] += number

    def show(
        self,
        entry: Entry | NewEntry,
        verdict: Verdict,
        native_type: str | None,
        type: str | None,
        lines: dict[str, str],
    ) -> None:
        """An entry would be different: where, and how."""
        if not lines:
            return
        self.fields.update(map(shortened, lines))
        native_type, type = (None if name is None else shortened(name) for name in (native_type, type))
        self.samples = _some(
            self.samples,
            [
                Sample(
                    uid=uid_text(entry.uid),
                    received_at=entry.received_at,
                    verdict=verdict,
                    native_type=native_type,
                    type=type,
                    lines=[f"{shortened(place)}: {shortened(told)}" for place, told in islice(lines.items(), LINES)],
                )
            ],
        )


class StretchReader(Protocol):
    """Reads stored entries again."""

    #: Entries that it takes at a time.
    stretch: int

    async def read(self, chosen: AsyncIterable[tuple[Stored, Entry]], now: int, *, show: bool) -> Step:
        """Read first entries (with what they were made of) again, each with the entry that stands for its event until
        now. ``now``: epoch milliseconds; ``show``: differences are shown, and nothing is to be appended."""
        ...


def _added(counts: Counter[str], more: Counter[str], most: int) -> Counter[str]:
    """Both together; what would be one more than may be told apart is counted with others."""
    both = Counter(counts)
    for name, count in more.items():
        both[name if name in both or len(both) < most else OTHERS] += count
    return both


def _some(samples: list[Sample], more: Iterable[Sample]) -> list[Sample]:
    """Both together, of each verdict as many as are shown."""
    shown = list(samples)
    seen = Counter(one.verdict for one in shown)
    for sample in more:
        seen[sample.verdict] += 1
        if seen[sample.verdict] <= SAMPLES:
            shown.append(sample)
    return shown
