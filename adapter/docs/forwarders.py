"""``forwarders.md``: what events may be wrapped in, from ``mappings/envelopes.yaml``."""

from __future__ import annotations

from adapter.docs.markdown import code, table
from adapter.mapping.forwarders import Envelope, Forwarder, Forwarders
from adapter.model import ENVELOPE_SIZE

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
- What is kept as the raw event is the event inside, or the whole line. All else that the forwarder says
  (Docker's `stream`, EventBridge's `account`, the labels of a pod) is [kept beside it](#what-stands-beside-an-event).
- An event that says no time of its own has the forwarder's, and `details.time_source` is `forwarder`.
- Keys stay as the vendor writes them: a pipeline that writes `eventType` as `eventtype` makes of an event something
  else. Such an event is quarantined, and its problem says so.

## What stands beside an event

`GET /events/UID?raw=1`, `GET /quarantine/UID?raw=1` and `idp-adapter events show UID --raw` show it as `envelope`: a
list of what the event came in, outermost first. Each names the `forwarder`, its `time` (epoch milliseconds) if it says
one, and its other `members`:

```json
"envelope": [
  {"forwarder": "docker", "time": 1768381497000, "members": {"stream": "stdout", "time": "2026-01-14T09:04:57Z"}}
]
```

- What stood before a line is in the line. If that line held an object in which the event was, it is the `head` of one.
- At most SIZE bytes are kept with an event. Where there was more, long texts and what comes last are left out, and
  `cut` says so. Of an object larger than `event_limit`, nothing but the events in it is kept.
- Secrets are taken out before it is stored: what the table redacts, wherever it stands; what stands under names that
  speak of secrets (`token`, `Authorization`, `password`, …); signed tokens, bearer tokens, and credentials in
  addresses.
- It goes with the raw event: it is removed with it, copied by backups, and moved by `store migrate`.
- It does not count when copies are told apart: an event that comes again by another way is a duplicate, and keeps the
  envelope it came in first.
- Other envelopes of a provider's own, which its table names under `body`, are not kept.

## What is opened

`unwrap` of a source ([settings.md](settings.md)) says which are opened: `auto`, all of them; `none`; or one of the
names above. Then all that it sends is taken to come so, and what is inside is kept even if the table does not read it.

## Amazon SNS

SNS asks an address that was subscribed to a topic to confirm that. A source does so for the topics that it names:

```toml
[[sources]]
name = "okta"
provider = "okta"
sns_topics = ["arn:aws:sns:eu-central-1:111122223333:idp-events"]
```

The source's token goes into the address as the password; any name will do. The provider's table must have `basic` among
its credentials, as most have:

```sh
aws sns subscribe --region eu-central-1 \
  --topic-arn arn:aws:sns:eu-central-1:111122223333:idp-events \
  --protocol https \
  --notification-endpoint "https://sns:$SOURCE_TOKEN@adapter.example.org/ingest/okta"
```

- A first request without credentials gets 401 and says that a password is wanted; SNS then sends it again with one. So
  the log shows one `request_refused` each time.
- With or without raw message delivery: the events are the same. Without, what SNS says beside them is their `envelope`.
- The answer to what is confirmed is 202, and `GET /ignored` counts it as `SNS: a subscription was confirmed`. Where
  Amazon cannot be asked (`[outgoing]` says by which proxy), it is 503, and SNS sends it again.
- A topic that is not named is never confirmed. The log says once which one it was (`sns_topic_not_named`), and
  `GET /ignored` counts it. Name it, and subscribe again: the first request cannot be answered later. So is the end of a
  subscription told (`sns_subscription_ended`).
- What is asked is `https://sns.REGION.amazonaws.com` (`.com.cn` in China) with the named topic and the request's token,
  never an address out of a request. Who sent it is proven by the source's token; SNS's own signature is not looked at.
- Requests that lack the header `x-amz-sns-message-type`, since something between took it out, are quarantined, and show
  the address to open ([operate.md](operate.md#what-is-quarantined)).

## Other envelopes

What is not in the list belongs into a table, as an envelope under `body` ([mapping-language.md](mapping-language.md)).
"""


def forwarders_page(forwarders: Forwarders, depth: int) -> str:
    """The page. ``depth``: how many envelopes are opened one inside another."""
    rows = [
        (code(name), one.title if one.page is None else f"[{one.title}]({one.page})", _forms(one), _times(one))
        for name, one in forwarders.by_name.items()
    ]
    shown = table(["name", "forwarder", "the event stands", "its time"], rows)
    return _INTRODUCTION.replace("TABLE", shown).replace("DEPTH", str(depth)).replace("SIZE", f"{ENVELOPE_SIZE:,}")


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
