"""``forwarders.md``: what events may be wrapped in, from ``mappings/envelopes.yaml``."""

from __future__ import annotations

from adapter.docs.markdown import code, table
from adapter.mapping.forwarders import Envelope, Forwarder, Forwarders

_INTRODUCTION = """\
# Forwarders

What ships, routes or queues events wraps them in something of its own. Every source reads the events inside, whatever
its provider; the forwarder needs no filter for that. Post what it sends as it is: JSON (`application/json`,
`application/x-ndjson`) or lines of text (`text/plain`), with the credentials that the [provider's
page](providers/README.md) names.

TABLE
- An object that the table reads itself stays what it is, whatever members it has. Another one is opened only if
  something that the table reads is inside: an event, or a line that it passes over. What fits nothing stays whole, and
  is quarantined. Envelopes are opened one inside another, up to DEPTH deep.
- What is kept as the raw event is the event inside, or the whole line. The envelope's other members are not kept.
- An event that says no time of its own has the forwarder's, and `details.time_source` is `forwarder`.
- Keys stay as the vendor writes them: a pipeline that writes `eventType` as `eventtype` makes of an event something
  else. Such an event is quarantined, and its problem says so.
- A request to confirm a subscription of Amazon SNS is quarantined, and shows the address to open
  ([operate.md](operate.md#what-is-quarantined)).

`unwrap` of a source ([settings.md](settings.md)) says which are opened: `auto`, all of them; `none`; or one of the
names above. Then all that it sends is taken to come so, and what is inside is kept even if the table does not read it.

What is not in the list belongs into a table, as an envelope under `body` ([mapping-language.md](mapping-language.md)).
"""


def forwarders_page(forwarders: Forwarders, depth: int) -> str:
    """The page. ``depth``: how many envelopes are opened one inside another."""
    rows = [
        (code(name), one.title if one.page is None else f"[{one.title}]({one.page})", _forms(one), _times(one))
        for name, one in forwarders.by_name.items()
    ]
    shown = table(["name", "forwarder", "the event stands", "its time"], rows)
    return _INTRODUCTION.replace("TABLE", shown).replace("DEPTH", str(depth))


def _forms(forwarder: Forwarder) -> str:
    told = list(dict.fromkeys(_form(one) for one in forwarder.json_ if one.events is not None))
    if forwarder.lines:
        told.append("behind the head of a line")
    return ", or ".join(told)


def _form(envelope: Envelope) -> str:
    return f"in {code(envelope.events)}" + (", in base64" if envelope.base64 else "")


def _times(forwarder: Forwarder) -> str:
    told = [code(one.time) for one in forwarder.json_ if one.time is not None]
    if any("(\\d{4}" in one or "(\\S+)" in one for one in forwarder.lines):
        told.append("in the head")
    return ", ".join(dict.fromkeys(told))
