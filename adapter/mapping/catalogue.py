"""The catalogue of unified types, of failure reasons and of agreed details: ``mappings/types.yaml``, and what a user's
folder adds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from adapter.mapping.country import is_country_code
from adapter.mapping.document import NO_TEXTS, Document, Texts, is_there
from adapter.model import Outcome

ACCESS = "access."
ERROR = "_ERROR"


class Kind(StrEnum):
    """What sort of thing an event of a type reports; gives its default outcome."""

    #: Something was done.
    ACTION = "action"
    #: Something was verified on the way; success only where the row or the type says so.
    CHECK = "check"
    #: Something was begun; its end is another event.
    ATTEMPT = "attempt"
    #: Something was noticed or told.
    NOTICE = "notice"
    #: Something was looked at.
    READ = "read"


class Step(StrEnum):
    """What place an event of a type has in the story of a login."""

    #: The whole of it; its twin is a failed one.
    LOGIN = "login"
    #: It leads to one.
    BEFORE = "before"
    #: It follows one at once.
    AFTER = "after"
    #: Either.
    AROUND = "around"
    #: A one-time code was made, or sent.
    CODE = "code"
    #: A one-time code was shown.
    CODE_CHECK = "code_check"


_DEFAULT_OUTCOME = {
    Kind.ACTION: Outcome.SUCCESS,
    Kind.READ: Outcome.SUCCESS,
    Kind.CHECK: Outcome.UNKNOWN,
    Kind.ATTEMPT: Outcome.UNKNOWN,
    Kind.NOTICE: Outcome.UNKNOWN,
}


#: A place in a template, for a value of the event.
PLACE = re.compile(r"\{([^{}]*)\}")
#: What may stand there, besides details.
PLACES = ("username", "client", "ip", "realm", "reason", "path", "type")


def _template(text: str) -> str:
    for name in PLACE.findall(text):
        if name not in PLACES and not re.fullmatch(r"details\..+", name):
            places = ", ".join(f"{{{one}}}" for one in PLACES)
            raise ValueError(f"there is no {{{name}}} for a sentence; there are {places} and {{details.NAME}}")
    return text


Template = Annotated[str, AfterValidator(_template)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EventType(_Strict):
    """One unified type. Its ``_ERROR`` twin exists without being listed."""

    group: str
    kind: Kind
    step: Step | None = Field(None, description="What place it has in the story of a login; none: an event of its own")
    meaning: str = Field(description="One line, for people")
    sentence: Template = Field(description="Template for people, such as '{username} logged in to {client} from {ip}'")
    success: Template | None = Field(
        None, description="Template for an event that succeeded, where the sentence does not tell a success"
    )
    failure: Template | None = Field(None, description="Template for an event that failed, such as the _ERROR twin")
    outcome: Outcome | None = Field(None, description="Where it differs from the kind's default")


class Reason(_Strict):
    """One word for why something failed."""

    reason_class: str = Field(alias="class")
    error: str = Field(description="Keycloak's error code that goes with it")
    codes: tuple[str, ...] = Field((), description="Native error codes that mean it")
    meaning: str


class Form(StrEnum):
    """How the text of an agreed detail looks."""

    TEXT = "text"
    #: One of the detail's values.
    WORD = "word"
    #: ``true`` or ``false``.
    BOOLEAN = "boolean"
    #: The code of two letters of ISO 3166-1.
    COUNTRY = "country"
    #: Texts with a comma and a blank between.
    LIST = "list"


class Detail(_Strict):
    """A detail with one meaning for all providers."""

    meaning: str = Field(description="One line, for people")
    form: Form = Field(Form.TEXT, description="How its text looks")
    values: dict[str, str] = Field(default_factory=dict, description="Of a word: each that there is, and its meaning")
    ecs: str | None = Field(None, description="Its field in the Elastic Common Schema, if there is one")
    ocsf: str | None = Field(None, description="Its attribute in OCSF, if there is one")
    asim: str | None = Field(None, description="Its field in Microsoft's ASIM, if there is one")

    @model_validator(mode="after")
    def _of_words(self) -> Detail:
        if (self.form is Form.WORD) != bool(self.values):
            raise ValueError("`values` are the values of a word; `form: word` and `values` come together")
        return self

    def misfit(self, text: str) -> str | None:
        """What would be right instead of a text that is not of the form; ``None``: it is."""
        match self.form:
            case Form.WORD if text not in self.values:
                return f"one of {', '.join(self.values)}"
            case Form.BOOLEAN if text not in ("true", "false"):
                return "true or false"
            case Form.COUNTRY if not is_country_code(text):
                return "a country's code of two capital letters, such as NL (`as: country` makes it)"
            case Form.LIST if text.startswith("["):
                return "texts with a comma and a blank between (`as: list` makes them)"
            case _:
                return None


class AdminForms(_Strict):
    """``admin.RESOURCE-OPERATION``: every resource with every operation is a type."""

    resources: dict[str, Template] = Field(default_factory=dict, description="Resource type: what it is, for people")
    operations: dict[str, Template] = Field(
        default_factory=dict, description="Operation: its past participle, for people: created, changed"
    )


class CatalogueFile(_Strict):
    """``types.yaml``."""

    groups: dict[str, str] = Field(default_factory=dict, description="Group: its title")
    types: dict[str, EventType] = Field(default_factory=dict, description="Type, without 'access.'")
    aliases: dict[str, str] = Field(default_factory=dict, description="Another name: the canonical type")
    admin: AdminForms = AdminForms()
    reason_classes: dict[str, str] = Field(default_factory=dict)
    reasons: dict[str, Reason] = Field(default_factory=dict)
    details: dict[str, Detail] = Field(default_factory=dict, description="Detail: what it means, whatever provider")


#: The reason of a failure whose cause is not stated, and the error code that goes with it.
UNSPECIFIED = "unspecified"


class Catalogue:
    """All types, reasons and agreed details, and the questions asked about them."""

    def __init__(self, file: CatalogueFile) -> None:
        #: Stands for all of it: changes when anything does.
        self.digest = hashlib.sha256(file.model_dump_json(by_alias=True).encode()).hexdigest()
        self.groups: Mapping[str, str] = file.groups
        self.types: Mapping[str, EventType] = {_full(name): one for name, one in file.types.items()}
        self.admin = file.admin
        self.reasons: Mapping[str, Reason] = file.reasons
        #: Class of reasons: what it means.
        self.reason_classes: Mapping[str, str] = file.reason_classes
        #: The agreed details, by their names; events may have others.
        self.details: Mapping[str, Detail] = file.details
        self._admin_types: dict[tuple[str, str], EventType] = {}
        self._canonical = {_full(alias): _full(name) for alias, name in file.aliases.items()}
        self._reason_of_code = {
            code: name for name, reason in file.reasons.items() for code in (reason.error, *reason.codes)
        }
        # A reason's own list decides over another one's usual error: several share a usual error.
        for name, reason in file.reasons.items():
            for code in reason.codes:
                self._reason_of_code[code] = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalogue) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every type by every name: ``_ERROR`` twins, aliases and admin forms, too."""
        listed = [*self.types, *self._canonical]
        twins = [name + ERROR for name in listed if name.startswith(ACCESS)]
        forms = [
            f"admin.{resource}-{operation}" for resource in self.admin.resources for operation in self.admin.operations
        ]
        return tuple(dict.fromkeys([*listed, *twins, *forms]))

    @property
    def renamed(self) -> Mapping[str, str]:
        """Canonical types by their other names; ``_ERROR`` twins are not listed."""
        return self._canonical

    def canonical(self, type: str) -> str:
        """The one name of a type: aliases resolved, ``_ERROR`` kept; unknown types as they are."""
        base, twin = (type[: -len(ERROR)], ERROR) if type.endswith(ERROR) else (type, "")
        return self._canonical.get(base, base) + twin

    def aliases(self, type: str) -> tuple[str, ...]:
        """The other names of a canonical type."""
        base, twin = (type[: -len(ERROR)], ERROR) if type.endswith(ERROR) else (type, "")
        return tuple(alias + twin for alias, name in self._canonical.items() if name == base)

    def known(self, type: str) -> EventType | None:
        """What is known of a type; an ``_ERROR`` twin answers as its base, an admin form as itself."""
        found = self.types.get(type)
        if found is None and type.startswith(ACCESS) and type.endswith(ERROR):
            found = self.types.get(type[: -len(ERROR)])
        return found if found is not None else self._admin_type(type)

    def outcome(self, type: str) -> Outcome:
        """The outcome an event of this type has when nothing else decides."""
        if type.startswith(ACCESS) and type.endswith(ERROR):
            return Outcome.FAILURE
        found = self.known(type)
        if found is None:
            return Outcome.SUCCESS if type.startswith("admin.") else Outcome.UNKNOWN
        return found.outcome or _DEFAULT_OUTCOME[found.kind]

    def reason_class(self, reason: str) -> str | None:
        """Class of a reason, ``None`` if the reason is not in the list."""
        found = self.reasons.get(reason)
        return None if found is None else found.reason_class

    def reason_of(self, error: str) -> str:
        """The reason that an error code means; ``unspecified`` if no reason lists it."""
        return self._reason_of_code.get(error, UNSPECIFIED)

    def error_of(self, reason: str) -> str:
        """The usual error code of a reason."""
        return self.reasons[reason].error

    def _admin_type(self, type: str) -> EventType | None:
        if not type.startswith("admin."):
            return None
        resource, _, operation = type.removeprefix("admin.").rpartition("-")
        thing, verb = self.admin.resources.get(resource), self.admin.operations.get(operation)
        if thing is None or verb is None:
            return None
        found = self._admin_types.get((resource, operation))
        if found is None:
            kind, outcome = (Kind.READ, Outcome.UNKNOWN) if operation == "READ" else (Kind.ACTION, Outcome.SUCCESS)
            found = self._admin_types[resource, operation] = EventType(
                group="admin",
                kind=kind,
                outcome=outcome,
                meaning=f"An administrator {verb} {thing}",
                sentence=f"{{username}} {verb} {thing} ({{path}})",
                failure=f"{thing[:1].upper()}{thing[1:]} ({{path}}) could not be {verb} by {{username}}: {{reason}}",
            )
        return found


def load_catalogue(folders: Sequence[Path], texts: Texts = NO_TEXTS) -> Catalogue:
    """Read ``types.yaml`` of the folders, earlier ones over later ones (users' own come first). ``texts`` stand for the
    files' own.

    Raises:
        MappingError: a file does not fit.
    """
    return _load(tuple(folders), texts)


@lru_cache(maxsize=8)
def _load_file(file: Path, modified: int) -> CatalogueFile:  # modified: a changed file is read anew
    return Document.read(file).read_as(CatalogueFile)


def _load(folders: tuple[Path, ...], texts: Texts) -> Catalogue:
    merged = CatalogueFile()
    for folder in reversed(folders):
        file = folder / "types.yaml"
        if not is_there(file, texts):
            continue
        text = texts.get(file)
        own = _load_file(file, file.stat().st_mtime_ns) if text is None else Document(file, text).read_as(CatalogueFile)
        merged = CatalogueFile(
            groups={**merged.groups, **own.groups},
            types={**merged.types, **own.types},
            aliases={**merged.aliases, **own.aliases},
            admin=AdminForms(
                resources={**merged.admin.resources, **own.admin.resources},
                operations={**merged.admin.operations, **own.admin.operations},
            ),
            reason_classes={**merged.reason_classes, **own.reason_classes},
            reasons={**merged.reasons, **own.reasons},
            details={**merged.details, **own.details},
        )
    return Catalogue(merged)


def _full(name: str) -> str:
    return name if "." in name else ACCESS + name
