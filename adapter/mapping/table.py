"""A mapping table, ready to use: read from its file, compiled, with a version of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import structlog

from adapter.errors import MappingError
from adapter.finding_codes import Code
from adapter.mapping.body import EVENT_LIMIT, JSON, Record, Records, Splitter
from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.compile import Result, compile_mapping
from adapter.mapping.complaints import Problem
from adapter.mapping.document import NO_TEXTS, Document, Texts, is_there, read_text
from adapter.mapping.extend import extended
from adapter.mapping.forwarders import AUTO, load_forwarders
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.language import Shape
from adapter.mapping.refusals import refusals, wrong_reasons, wrong_types
from adapter.mapping.shapes import merged_shapes
from adapter.mapping.trace import Trace
from adapter.resources import mappings_path

_log = structlog.get_logger("adapter.mapping")

#: ``details.time_source`` of an event whose time is the forwarder's.
FORWARDER = "forwarder"


class Table:
    """One provider's table.

    ``records`` and ``read`` are pure and total: the same bytes and the same arrival always give the same events, and
    foreign data never raises.
    """

    def __init__(
        self,
        document: Document,
        catalogue: Catalogue,
        folders: Sequence[Path] = (),
        texts: Texts = NO_TEXTS,
    ) -> None:
        self.document = document
        self.catalogue = catalogue
        #: What its own file says, without those that it extends.
        self.own = document.value
        bases = extended(document, folders, texts)
        #: The providers whose tables it extends, nearest first.
        self.rests_on = tuple(one.file.parent.name for one in bases)
        words = (wrong_reasons(document.value, catalogue), wrong_types(document.value, catalogue))
        self.mapping = document.read_as(MappingFile, words[0], odd=words[1])
        problems = list(refusals(self.mapping, catalogue))
        if problems:
            raise document.errors(problems)
        #: ``further``: the names of further events that rows of a native type may make of a record, or ``None`` if
        #: each row of the table makes one event.
        self._read, self.source, self.further = compile_mapping(self.mapping, catalogue)
        self._forwarders = load_forwarders()
        self._splitters = {AUTO: Splitter(self.mapping, self._forwarders.unwrapping(AUTO))}
        self.provider = self.mapping.provider
        #: The files that it was made of, its own first, and their texts.
        self.texts = {one.file: one.text for one in (document, *bases)}
        #: Changes whenever the file does, one that it extends, the catalogue, or the forwarders' file.
        made_of = [*self.texts.values(), catalogue.digest, self._forwarders.digest]
        self.version = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:12]
        #: As it stands in ``source.mapping`` of the events it makes.
        self.name = f"{self.provider}@{self.version}"
        document.forget_places()

    @property
    def folder(self) -> Path:
        """Folder of the file; its ``examples`` lie beside it."""
        return self.document.file.parent

    def records(self, body: bytes, media: str, event_limit: int, unwrap: str = AUTO) -> Records:
        """The records of a body, lazily; see `Splitter.records`. ``unwrap``: what is opened of what forwarders wrap
        events in (`Forwarders.unwrapping`)."""
        return self._splitter(unwrap).records(body, media, event_limit)

    def split(self, body: bytes, media: str = JSON, event_limit: int = EVENT_LIMIT, unwrap: str = AUTO) -> list[Record]:
        """All records of a body; see `Splitter.split`."""
        return self._splitter(unwrap).split(body, media, event_limit)

    def _splitter(self, unwrap: str = AUTO) -> Splitter:
        splitter = self._splitters.get(unwrap)
        if splitter is None:
            splitter = self._splitters[unwrap] = Splitter(self.mapping, self._forwarders.unwrapping(unwrap))
        return splitter

    def split_unredacted(self, body: bytes, media: str = JSON) -> list[Record]:
        """The same with the secrets that the table takes out, for who looks for them."""
        return self._unredacted.split(body, media)

    @cached_property
    def _unredacted(self) -> Splitter:
        return Splitter(self.mapping.model_copy(update={"redact": []}), self._forwarders.unwrapping(AUTO))

    def excerpt(self, raw: bytes, size: int) -> str:
        """The beginning of what was sent, for people; see `Splitter.excerpt`."""
        return self._splitter().excerpt(raw, size)

    def answer(self, body: bytes, media: str, now: int) -> dict[str, Any] | None:
        """What the sender of a body wants to be told; see `Splitter.answer`."""
        return self._splitter().answer(body, media, now)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shapes by name, each with what stands at the top of the file filled in."""
        return merged_shapes(self.mapping)

    def traced(self, trace: Trace) -> Table:
        """The same table, which tells a trace how it reads each raw event."""
        table = copy(self)
        table._read, table.source, _ = compile_mapping(self.mapping, self.catalogue, trace)
        return table

    def read(self, value: dict[str, Any], received_at: int) -> tuple[Any, ...]:
        """What one raw event means: a tuple with the members of `Result` (a plain one, for speed)."""
        return self._read(value, received_at)

    def read_record(self, record: Record, received_at: int) -> tuple[Any, ...]:
        """What one record means, as the same plain tuple; neither event nor problem: the table ignores it.
        ``received_at``: arrival, epoch milliseconds. Never raises, whatever a table does."""
        if record.ignored is not None:
            return _IGNORED
        if record.value is None:
            return (None, None, None, None, 0, record.problem)
        at = record.forwarded_at
        try:
            if at is None:
                return self.read(record.value, received_at)
            return _timed(self.read(record.value, at))
        except Exception as error:
            return (None, None, None, None, 0, self.failed(error))

    def read_further(self, record: Record, received_at: int, name: str) -> tuple[Any, ...]:
        """What the further event of this name of a record is; without an event: the record has none of it. Its keys are
        those of the record and the name."""
        if record.value is None or self.further is None:
            return (None, None, None, None, 0, f"no row makes an event of the name {name!r}")
        at = record.forwarded_at
        try:
            values = self._read(record.value, received_at if at is None else at, name)
            event, native, strong, weak, seconds, problem = values if at is None else _timed(values)
        except Exception as error:
            return (None, None, None, None, 0, self.failed(error))
        # They begin otherwise than those of a record, so that no record's values can pose as these.
        strong, weak = (None if key is None else ["also", name, *key] for key in (strong, weak))
        return event, native, strong, weak, seconds, problem

    def result(self, record: Record, received_at: int, name: str | None = None) -> Result:
        """The same with names, where speed does not count. ``name``: of its further event that is asked for."""
        if name is not None:
            return Result(*self.read_further(record, received_at, name))
        return Result(*self.read_record(record, received_at))

    def results(self, record: Record, received_at: int) -> dict[str | None, Result]:
        """All events of a record: its first one, or why there is none, under ``None``, and further ones by name."""
        first = self.result(record, received_at)
        found: dict[str | None, Result] = {None: first}
        if self.further is not None and first.event is not None and first.native_type is not None:
            for name in self.further(first.native_type):
                result = self.result(record, received_at, name)
                if result.event is not None:
                    found[name] = result
        return found

    def failed(self, error: Exception) -> str:
        """The problem of what this table raised on, which it should never do."""
        _log.error("table_failed", provider=self.provider, mapping=self.name, exc_info=error)
        return f"the table failed on it ({type(error).__name__}); this is a fault of the adapter"


def _timed(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """What was read with the forwarder's time in the place of the arrival; an event says so if it has no other."""
    details = None if values[0] is None else values[0]["details"]
    if details is not None and "time_problem" in details:
        details["time_source"] = FORWARDER
        if details["time_problem"] == "absent":
            del details["time_problem"]
    return values


_IGNORED = (None, None, None, None, 0, None)


def load_table(file: Path, catalogue: Catalogue, folders: Sequence[Path] = (), texts: Texts = NO_TEXTS) -> Table:
    """Read and compile one ``mapping.yaml``; a table that it extends is looked for in the folders. ``texts`` stand for
    those of files.

    Raises:
        MappingError: it cannot be used; the message names file, line and what is wrong.
    """
    text = read_text(file, texts)
    if file.parent.parent == mappings_path() and file not in texts:
        return _built_in(file, text, catalogue)
    return read_table(Document(file, text), catalogue, folders, texts)


@lru_cache(maxsize=32)
def _built_in(file: Path, text: str, catalogue: Catalogue) -> Table:
    """A table that comes with the adapter, and extends no other one: whoever loads it again (to reload, for the log's
    dictionary) gets the same one. Those of users change, and would stay in memory."""
    return read_table(Document(file, text), catalogue)


def read_table(
    document: Document,
    catalogue: Catalogue,
    folders: Sequence[Path] = (),
    texts: Texts = NO_TEXTS,
) -> Table:
    """Compile the text of a ``mapping.yaml``, which need not stand in its file yet; ``texts`` stand for those of files
    that it extends.

    Raises:
        MappingError: it cannot be used; the message names file, line and what is wrong.
    """
    table = Table(document, catalogue, folders, texts)
    file = document.file
    if table.provider != file.parent.name and file.name == "mapping.yaml":
        problem = f"is {table.provider!r}, but the folder is {file.parent.name!r}; give both the same name"
        raise document.error(Problem(("provider",), problem, Code.WRONG_FOLDER))
    return table


def table_file(provider: str, folders: Sequence[Path], texts: Texts = NO_TEXTS) -> Path | None:
    """The file of a provider's table; a folder hides equal names in later ones. ``None`` if there is none."""
    files = (folder / provider / "mapping.yaml" for folder in folders)
    return next((file for file in files if is_there(file, texts)), None)


def overlooked_table(provider: str, folders: Sequence[Path]) -> str | None:
    """What stands where a provider's table would be looked for, and why it is none; ``None`` if nothing does."""
    for folder in folders:
        file = folder / provider / "mapping.yaml"
        if file.is_dir():
            return f"{file}: is a folder; the table is a file of this name"
        other = file.with_suffix(".yml")
        if other.is_file():
            return f"{other}: is not read; rename it to {file.name}"
    return None


def known_providers(folders: Sequence[Path]) -> list[str]:
    """The providers that have a table, by name."""
    return sorted({file.parent.name for folder in folders for file in folder.glob("*/mapping.yaml")})


def load_tables(folders: Sequence[Path]) -> Mapping[str, Table]:
    """All tables of the folders, by provider; a folder hides equal names in later ones.

    Raises:
        MappingError: one or more cannot be used; the message lists them all.
    """
    catalogue = load_catalogue(folders)
    tables: dict[str, Table] = {}
    problems: list[str] = []
    for folder in folders:
        for file in sorted(folder.glob("*/mapping.yaml")):
            if file.parent.name in tables:
                continue
            try:
                tables[file.parent.name] = load_table(file, catalogue, folders)
            except MappingError as error:
                problems.append(str(error))
    if problems:
        raise MappingError("\n".join(problems))
    return tables
