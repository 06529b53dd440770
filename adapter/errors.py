"""Every error this package raises on purpose, by who must act.

    AdapterError
    ├── ConfigError           the operator: a setting, a mapping file, a data folder
    │   └── MappingError      the author of a mapping file; carries file, line, column and code
    ├── RequestError          the caller of the HTTP interface; carries the status
    ├── NoReply               nobody: whom we asked over HTTP did not answer; it is asked again
    │   └── Unreached         nobody: no connection came about, so nothing was asked
    │       └── Blocked       the operator: we may not ask there; a setting would allow it
    ├── Refused               the operator of whom we asked: it answered, and did not give what was asked for
    └── StoreError            the disk or database
        ├── StoreUnavailable  full, locked, read-only: the same request may succeed later
        │   ├── StoreUnanswered   no answer came: all of the request is stored, or nothing
        │   └── StoreDamaged      its files are damaged: until they are recovered, nothing is stored
        ├── NoteChanged       somebody else has kept a note since it was read
        ├── ClaimLost         somebody else does now what this was written for
        └── StoreMismatch     the data was written by a newer version, or is not ours

A message says where, what is wrong, and what would be right. A thing that is not found is ``None``, not an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from adapter.finding_codes import Code


class AdapterError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(AdapterError):
    """The operator has a file or setting to change; the text begins with which."""


class MappingError(ConfigError):
    """A mapping file cannot be used.

    ``file`` and ``line`` (1-based, ``None`` if unknown) say where; they stand at the front of the text. ``column``
    (1-based, in characters) says where in the line, and ``code`` what kind of fault it is.
    ``others`` are wrong in it, too, a line of the text each; ``each`` holds all of them.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        column: int | None = None,
        code: Code | None = None,
        others: Sequence[MappingError] = (),
    ) -> None:
        self.problem = problem
        self.file = file
        self.line = line
        self.column = column
        self.code = code
        where = "" if file is None else f"{file}:{line}: " if line else f"{file}: "
        self.each = (self, *others)
        super().__init__("\n".join([where + problem, *map(str, others)]))


class RequestError(AdapterError):
    """The caller has a request to change. Becomes a problem document (RFC 9457) with ``status``.

    ``title`` is the short, fixed name of the problem; ``detail`` says what was wrong in this request and what
    would be right; ``extra`` holds further members of the document, such as ``allowed``; ``headers`` go with it.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **extra: object,
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra
        super().__init__(f"{title}: {detail}")

    def __reduce__(self) -> tuple[object, ...]:
        return _request_error, (self.status, self.title, self.detail, self.headers, self.extra)


def _request_error(
    status: int, title: str, detail: str, headers: dict[str, str], extra: dict[str, object]
) -> RequestError:
    return RequestError(status, title, detail, headers=headers, **extra)


def unknown_sink(name: str, names: Iterable[str]) -> RequestError:
    """What to raise for a sink that there is not; ``names``: of those that there are."""
    return RequestError(404, "Not found", no_such_sink(name, names))


def no_such_sink(name: str, names: Iterable[str]) -> str:
    """That there is no sink of this name, and which there are, for people."""
    return f"There is no sink {name!r}; there are: {', '.join(sorted(names)) or 'none'}."


class NoReply(AdapterError):
    """A request that we made got no answer, or not the whole of it; the text says why, and holds nothing of the answer
    and no secret."""

    @property
    def public(self) -> str:
        """What others than administrators may be told."""
        return public_text(str(self))


class Unreached(NoReply):
    """No connection came about, or none may be made: nothing of the request was sent, so it cannot be the cause."""


#: What the text of every `Blocked` begins with.
BLOCKED = "blocked: "


class Blocked(Unreached):
    """A request was not made, since it may not go there. The text begins with `BLOCKED`, and names the address and the
    setting that would allow it: for administrators, in logs and in the state of a sink. Others get ``public``, which is
    "blocked" alone: what a name leads to inside of a network is not theirs to know."""


_PUBLIC = BLOCKED.rstrip(": ")


def is_blocked(said: str) -> bool:
    """Whether a text that was kept, such as the last answer of a sink or the reason why an event is held, is that of a
    `Blocked`, or what the public may know of it."""
    return said == _PUBLIC or BLOCKED in said


def public_text(said: str) -> str:
    """What others than administrators may be told of a text that was kept."""
    return _PUBLIC if is_blocked(said) else said


class Refused(AdapterError):
    """A request that we made was answered, and refused; the text says where, and what to change there, and holds no
    secret."""


class StoreError(AdapterError):
    """The disk or the database did not do what was asked; nothing of the failed call is stored, unless the error is one
    that says otherwise."""


class StoreUnavailable(StoreError):
    """The store cannot write now (disk full, locked, read-only); the same call may succeed later."""


class StoreUnanswered(StoreUnavailable):
    """The store did not answer: all of the call is stored, or nothing, and which is unknown. The same call settles it:
    events with an identity are stored once, and progress is not counted twice."""


class StoreDamaged(StoreUnavailable):
    """The store's files are damaged, or not the ones that were opened. It says so until the service is started again.
    Whether the call that met it is stored is unknown."""


class NoteChanged(StoreError):
    """The note that was to be replaced is not the latest one: whoever keeps it reads it again."""


class ClaimLost(StoreError):
    """Somebody else has claimed what this was written for; they go on with it."""


class StoreMismatch(StoreError):
    """The data folder belongs to a newer version of this program, or to another one."""
