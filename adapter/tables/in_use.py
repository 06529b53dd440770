"""The tables in use. A changed one is read and proved aside; it takes the old one's place at once, or the old one stays
and why is remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from adapter.errors import MappingError
from adapter.finding_codes import Weight
from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.table import Table, known_providers, load_table, load_tables, table_file
from adapter.workbench.check import check_table, is_built_in
from adapter.workbench.compare import changed_identity

_log = structlog.get_logger("adapter.mapping")

#: Errors of a check that are told; there may be hundreds.
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why what a provider's files say now is not taken for good."""

    problem: str
    #: When it was refused, epoch milliseconds.
    at: int


class Tables(Mapping[str, Table]):
    """The table of each provider. Whoever looks one up gets a whole table, and may keep it as long as a body takes.

    Raises:
        MappingError: one or more cannot be used; the message lists them all.
    """

    def __init__(self, folders: Sequence[Path], *, clock: Callable[[], float] = time.time) -> None:
        #: Where tables lie; earlier folders hide equal names in later ones.
        self.folders = tuple(folders)
        #: The catalogue as it was read last; a table keeps the one that it was compiled with.
        self.catalogue = load_catalogue(folders)
        #: The providers whose files are wrong as they are now; one that never had a usable table is only here.
        self.refused: dict[str, Refusal] = {}
        self._tables = dict(load_tables(folders))
        self._clock = clock
        self._turn = asyncio.Lock()
        self._prove_own()

    def __getitem__(self, provider: str) -> Table:
        return self._tables[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def _prove_own(self) -> None:
        """Hold users' own tables against their examples. At a start there is none before them to go on with, and to
        take no events at all would be worse: a wrong one is in use, and said."""
        for provider, table in self._tables.items():
            if is_built_in(table.document.file):
                continue
            try:
                _prove(table)
            except MappingError as error:
                self.refused[provider] = Refusal(str(error), int(self._clock() * 1000))
                _log.error("table_in_use_though_wrong", provider=provider, problem=str(error), mapping=table.name)

    async def reload(self, providers: Iterable[str] | None = None, *, force: bool = False) -> None:
        """Take up what the files of these providers say now, and of those whose tables rest on theirs; ``None``: of
        all. A changed catalogue takes all along. ``force``: also where events would be known by other keys.

        Files are read, compiled, and held against the tables' own examples in a thread. When this returns, each of
        the providers has its new table, or is among the refused.
        """
        async with self._turn:
            wanted = None if providers is None else set(providers)
            catalogue, found = await asyncio.to_thread(self._read, wanted, force)
            self.catalogue = catalogue
            for provider, outcome in found.items():
                self._settle(provider, outcome)

    def forget(self, provider: str) -> None:
        """A provider's table is gone, and nobody reads by it."""
        self._tables.pop(provider, None)
        self.refused.pop(provider, None)

    def _settle(self, provider: str, outcome: Table | str | None) -> None:
        before = self.refused.pop(provider, None)
        if isinstance(outcome, str):
            self.refused[provider] = Refusal(outcome, int(self._clock() * 1000))
            kept = self._tables.get(provider)
            _log.error("table_refused", provider=provider, problem=outcome, mapping=kept.name if kept else None)
        elif outcome is not None:
            old = self._tables.get(provider)
            self._tables[provider] = outcome
            if before is not None or old is None or old.name != outcome.name:
                _log.info("table_in_use", provider=provider, mapping=outcome.name)

    def _read(self, wanted: set[str] | None, force: bool) -> tuple[Catalogue, dict[str, Table | str | None]]:
        """The catalogue, and for each provider its table, or what is wrong; ``None``: nothing is left of it."""
        catalogue, problem = self.catalogue, None
        try:
            for folder in self.folders:
                if not folder.is_dir():
                    raise MappingError(f"{folder}: there is no such folder")
            catalogue = load_catalogue(self.folders)
        except MappingError as error:
            problem = str(error)
        if catalogue.digest == self.catalogue.digest:
            catalogue = self.catalogue
        else:
            wanted = None
        everyone = {*known_providers(self.folders), *self._tables, *self.refused}
        if wanted is None:
            wanted = everyone
        else:
            wanted |= {name for name, table in self._tables.items() if wanted & set(table.rests_on)}
        return catalogue, {
            name: problem or self._read_one(name, catalogue, force) for name in sorted(wanted) if name in everyone
        }

    def _read_one(self, provider: str, catalogue: Catalogue, force: bool) -> Table | str | None:
        try:
            file = table_file(provider, self.folders)
            if file is not None:
                table, old = load_proved(file, catalogue, self.folders), self._tables.get(provider)
                changed = None if force or old is None else changed_identity(old, table)
                if changed is None:
                    return table
                return (
                    f"{file}: events would be known by other keys (see {changed}), so that copies of those that came "
                    f"before would be new events; POST /mappings/{provider}/reload?force=1 if that is meant"
                )
        except MappingError as error:
            return str(error)
        except Exception as error:  # whatever a file holds, the table before it goes on
            _log.exception("table_load_failed", provider=provider)
            return f"{provider}: loading it failed ({type(error).__name__}); this is a fault of the adapter"
        if provider in self._tables:
            return f"{provider}: its mapping.yaml is gone; its last table is in use until the next start"
        return None


def load_proved(file: Path, catalogue: Catalogue, folders: Sequence[Path]) -> Table:
    """Read and compile one ``mapping.yaml``, and hold it against its own examples.

    Raises:
        MappingError: it cannot be used, or the check finds errors; the message names files, lines and what is wrong.
    """
    table = load_table(file, catalogue, folders)
    _prove(table)
    return table


def _prove(table: Table) -> None:
    """Hold a table against its own examples.

    Raises:
        MappingError: the check finds errors; the message names files, lines and what is wrong.
    """
    # A row without an example is no reason to go on with the table as it was.
    findings = check_table(table, strict=False, in_use=True)
    wrong = [str(finding) for finding in findings if finding.error]
    if wrong:
        more = [f"and {len(wrong) - _TOLD} more"] if len(wrong) > _TOLD else []
        raise MappingError("\n".join([*wrong[:_TOLD], *more]))
    faulty = [str(finding) for finding in findings if finding.code.weight is Weight.FAULT]
    if faulty:
        _log.warning("table_has_faults", mapping=table.name, count=len(faulty), faults=faulty[:_TOLD])
