"""``event-types.md``: the unified types, the reasons for failures and the agreed details, from the catalogue."""

from __future__ import annotations

from adapter.docs.markdown import code, sentence, table
from adapter.mapping.catalogue import Catalogue, Form
from adapter.search_fields import FOUND_DETAILS

_INTRODUCTION = """\
# Event types

Every type that the built-in tables use, from `mappings/types.yaml`. A folder of your own may add types; see
[write-a-mapping.md](write-a-mapping.md).

- A type of access is `access.NAME`; a failure of it is `access.NAME_ERROR`. The twin exists for every access type;
  the tables below mark those that have a failure's sentence of their own.
- An administrator's change is `admin.RESOURCE-OPERATION`. It has no `_ERROR` twin: a failed one has `error`.
- **Outcome** is what an event has when nothing in it says otherwise: `unknown` stands for an attempt, a notice, or a
  check whose result the provider does not say. A failure always has `error` and `reason`.
- A filter takes a type, an alias or a glob: `type=access.*_ERROR`.
- What people read of an event is a sentence of its type, which a folder of your own may change; see
  [extend-mappings.md](extend-mappings.md#sentences).
- Types that a provider invents (Keycloak's extensions) pass through as `access.NAME`, and applications that publish
  through Phase Two keep the type they chose.

"""


def types_page(catalogue: Catalogue) -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for group, title in catalogue.groups.items():
        rows = [
            (code(name), catalogue.outcome(name), "yes" if one.failure else "", _meaning(catalogue, name))
            for name, one in catalogue.types.items()
            if one.group == group
        ]
        if rows:
            parts.append(f"## {title}\n\n{table(['type', 'outcome', 'fails', 'meaning'], rows)}\n")
    parts += [_admin(catalogue), _reasons(catalogue), _details(catalogue)]
    return "".join(parts)


def _meaning(catalogue: Catalogue, name: str) -> str:
    aliases = catalogue.aliases(name)
    also = f" Also called {', '.join(code(one) for one in aliases)}." if aliases else ""
    return sentence(catalogue.types[name].meaning) + also


def _admin(catalogue: Catalogue) -> str:
    things = [(code(name), sentence(thing)) for name, thing in catalogue.admin.resources.items()]
    verbs = [
        (code(name), catalogue.outcome(f"admin.USER-{name}"), f"The thing was {verb}.")
        for name, verb in catalogue.admin.operations.items()
    ]
    return (
        "## What administrators do\n\n`admin.RESOURCE-OPERATION`, such as `admin.USER-DELETE`: every resource with "
        "every operation is a type.\n\n"
        f"{table(['operation', 'outcome', 'meaning'], verbs)}\n{table(['resource', 'what it is'], things)}\n"
    )


def _reasons(catalogue: Catalogue) -> str:
    text = (
        "## Reasons\n\nA failure has one `reason` out of this list, so that a rule written once holds for every "
        "provider, and one `error`, in Keycloak's words. Where the provider sends no code of Keycloak's, the error is "
        "the reason's usual one; where it sends one of the further codes, they give the reason.\n\n"
        "The class of a reason says who must act; `reason_class` filters by it.\n\n"
    )
    for name, meaning in catalogue.reason_classes.items():
        rows = [
            (code(reason), code(one.error), ", ".join(code(other) for other in one.codes), sentence(one.meaning))
            for reason, one in catalogue.reasons.items()
            if one.reason_class == name
        ]
        header = ["reason", "usual error", "further codes", "meaning"]
        text += f"### {code(name)}\n\n{sentence(meaning)}\n\n{table(header, rows)}\n"
    return text


_FORMS = {
    Form.TEXT: "any text",
    Form.WORD: "one of its words, below",
    Form.BOOLEAN: "`true` or `false`",
    Form.COUNTRY: "a country's code of two letters (ISO 3166-1), such as `NL`",
    Form.LIST: "texts with a comma and a blank between",
}


def _details(catalogue: Catalogue) -> str:
    filters = {name: filter for filter, names in FOUND_DETAILS.items() for name in names}
    rows = [
        (
            code(name),
            str(one.form),
            sentence(one.meaning),
            *(code(field) if field else "" for field in (one.ecs, one.ocsf, one.asim)),
            code(filters[name]) if name in filters else "",
        )
        for name, one in catalogue.details.items()
    ]
    forms = [(str(form), meaning) for form, meaning in _FORMS.items()]
    text = (
        "## Details\n\nWhat stands under `details` differs by provider, but these have one meaning for all of them, "
        "one form, and one field in each target format that has one. A table fills what the raw event plainly has, "
        "and may have other details besides.\n\n"
        f"{table(['form', 'how its text looks'], forms)}\n"
        f"{table(['detail', 'form', 'meaning', 'ECS', 'OCSF', 'ASIM', 'filter'], rows)}\n"
    )
    for name, one in catalogue.details.items():
        if one.values:
            words = [(code(word), sentence(meaning)) for word, meaning in one.values.items()]
            text += f"### {code(name)}\n\n{table(['word', 'meaning'], words)}\n"
    return text
