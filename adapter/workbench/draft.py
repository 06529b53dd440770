"""A first mapping file proposed from samples: what stands where, what must not be stored, and the types seen, each with
the row that it probably wants. Deciding what each type means is left to a person: the draft's rows name no type of the
catalogue, so ``check`` rejects it until all are decided."""

from __future__ import annotations

import copy
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapter.formats.text import counted
from adapter.mapping.body import JSON, TEXT, Splitter
from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.forwarders import AUTO, load_forwarders
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.language import check_name
from adapter.mapping.redact import Redactor
from adapter.mapping.scalars import dump
from adapter.mapping.table import table_file
from adapter.resources import mappings_path, schemas_path
from adapter.workbench.columns import columns_of
from adapter.workbench.likely import likely_reason, likely_row
from adapter.workbench.proposal import Proposal
from adapter.workbench.samples import Samples
from adapter.workbench.secret import proposed_redactions

#: Examples of a draft; values of a reason that are shown.
_EXAMPLES, _VALUES = 2000, 8


@dataclass(frozen=True)
class Draft:
    """A table proposed: two texts, and the files that they are for."""

    file: Path
    mapping: str
    examples_file: Path
    examples: str
    #: What should be known of it, a line each.
    remarks: tuple[str, ...]


def refuse_name(provider: str) -> None:
    """Refuse a name that a new table may not have.

    Raises:
        ValueError: no provider can be called so, or one is that comes with the adapter.
    """
    check_name(provider)
    if table_file(provider, [mappings_path()]) is not None:
        raise ValueError(
            f"{provider!r} comes with the adapter, and a table of this name would hide it; to change some of its rows, "
            f"give yours another name and say in it `extends: {provider}`"
        )


def draft(provider: str, samples: Samples, folder: Path) -> Draft:
    """A table for events like the samples, as it would stand in its folder. What their names call secret, and what is
    one by its form, is in none of its texts: it would be redacted, and is.

    Raises:
        ValueError: there are no samples, or nothing in them looks like a type.
    """
    if not samples.events:
        raise ValueError("there are no samples; give one JSON object a line, a list of them, or the lines of a log")
    file = folder / "mapping.yaml"
    redactions = proposed_redactions(samples.events)
    events = copy.deepcopy(samples.events)
    redactor = Redactor(redactions)
    for event in events:
        redactor.redact(event)
    cleaned = replace(samples, events=events)
    proposal = Proposal(provider, cleaned, redactions, load_catalogue([mappings_path()]).details)
    remarks = [*proposal.remarks()]
    examples, left = _examples(proposal, cleaned)
    if left:
        remarks.append(f"{counted(left, 'sample')} more are no examples: there are {_EXAMPLES} already")
    text = _text(proposal, file, len(events), remarks)
    return Draft(file, text, folder / "examples" / "samples.yaml", examples, tuple(remarks))


def _text(proposal: Proposal, file: Path, count: int, remarks: Sequence[str]) -> str:
    """The text of the table's file."""
    head = [
        f"yaml-language-server: $schema={schemas_path() / 'mapping.schema.json'}",
        f"A draft from {counted(count, 'event')}. Decide for each native type what it means (types:",
        f"docs/event-types.md), see that the fields are right, and run: idp-adapter mapping check {file}",
        *(line for remark in remarks for line in textwrap.wrap(f"- {remark}", 110, subsequent_indent="  ")),
    ]
    mapping, catalogue = proposal.mapping, load_catalogue([mappings_path()])
    before = {name: part for name, part in mapping.items() if name not in ("types", "unknown")}
    failed = "failed" in mapping
    rows = [_row(native, row, catalogue, failed=failed) for native, row in mapping["types"].items()]
    return (
        "".join(f"# {line}\n" for line in head)
        + dump(before)
        + _reasons(proposal, catalogue)
        + "types:\n"
        + "".join(rows)
        + f"unknown: {mapping['unknown']}\n"
    )


def _row(native: str, row: Mapping[str, Any], catalogue: Catalogue, *, failed: bool) -> str:
    """One row; what it probably means stands beside it, for whoever decides."""
    likely = likely_row(native, catalogue, failed=failed)
    text = textwrap.indent(dump({native: row}), "  ")
    if likely is None:
        return text
    told = f"# likely {dump(likely, flow=True).strip()}"
    return f"  {told}\n{text}" if text.count("\n") > 1 else f"{text.rstrip()}  {told}\n"


def _reasons(proposal: Proposal, catalogue: Catalogue) -> str:
    """What the reasons of failures probably are, as a comment."""
    path, values = proposal.reasons()
    if not values or len(values) > _VALUES:
        return ""
    table = {one: likely_reason(one, catalogue) for one in values}
    return f"# reason: {dump({'path': path, 'table': table, 'default': 'unspecified'}, flow=True).strip()}\n"


def _examples(proposal: Proposal, samples: Samples) -> tuple[str, int]:
    """An example file with the samples, failures first; ``mapping accept`` fills in what is expected. Beside it how
    many are not in it: where they are too many, those are that look like others."""
    seen: dict[tuple[str | None, frozenset[str]], int] = {}
    first: dict[str, int] = {}
    order = []
    splitter = Splitter(MappingFile.model_validate(proposal.mapping), load_forwarders().unwrapping(AUTO))
    for number, native in enumerate(proposal.types):
        raw, media = _raw(splitter, samples, number)
        if first.setdefault(str(raw), number) != number:
            continue
        form = native, frozenset(columns_of([samples.events[number]]))
        seen[form] = seen.get(form, 0) + 1
        order.append((seen[form], number, native, raw, media))
    chosen = sorted(order, key=lambda one: one[:2])[:_EXAMPLES]
    examples: list[dict[str, Any]] = []
    names: dict[str, int] = {}
    for _, _, native, raw, media in sorted(chosen, key=lambda one: (not proposal.failed(one[1]), one[1])):
        name = native or "unknown"
        names[name] = names.get(name, 0) + 1
        told = name if names[name] == 1 else f"{name} {names[name]}"
        examples.append({"name": told, "raw": raw, **({} if media == JSON else {"media": media}), "expect": []})
    return dump(examples), len(order) - len(chosen)


def _raw(splitter: Splitter, samples: Samples, number: int) -> tuple[Any, str]:
    """What is kept of a sample, and its media type; of a line as the table takes its secrets out."""
    if not samples.lines:
        return dict(samples.events[number]), JSON
    record = splitter.split(samples.lines[number].encode(), TEXT)[0]
    return record.raw.decode("utf-8", "replace"), record.media
