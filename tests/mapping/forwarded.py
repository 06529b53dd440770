"""Events as forwarders send them: one body for each, in the form that its documentation shows."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

JSON, TEXT = "application/json", "text/plain"

#: From the text of an event to a body and its media type.
Wrapped = Callable[[str], tuple[str, str]]

#: When the forwarder got what it sends, epoch milliseconds.
AT = 1_768_381_494_424


def _json(wrap: Callable[[str], Any]) -> Wrapped:
    return lambda text: (json.dumps(wrap(text)), JSON)


def _nested(wrap: Callable[[Any], Any]) -> Wrapped:
    """The event as an object, if it is JSON; else as text."""
    return lambda text: (json.dumps(wrap(json.loads(text) if text.startswith("{") else text)), JSON)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_BEAT = {
    "@timestamp": "2026-01-14T09:04:54.424Z",
    "@metadata": {"beat": "filebeat", "type": "_doc", "version": "9.0.2"},
    "agent": {"type": "filebeat", "version": "9.0.2", "ephemeral_id": "a1f6f6a8", "name": "node-1"},
    "ecs": {"version": "8.0.0"},
    "log": {"offset": 4711, "file": {"path": "/var/log/idp.log"}},
    "host": {"name": "node-1"},
}
_RESOURCE = {"resourceId": "/SUBSCRIPTIONS/1/RESOURCEGROUPS/IDP", "category": "ContainerLogs"}

#: Forwarder and form: the body; those that do not say when are `TIMELESS`.
WRAPPED: dict[str, Wrapped] = {
    "plain message": _json(lambda text: {"message": text}),
    "plain log": _json(lambda text: {"log": text}),
    "plain event": _nested(lambda event: {"event": event}),
    "docker": _json(lambda text: {"log": text + "\n", "stream": "stdout", "time": "2026-01-14T09:04:54.424123456Z"}),
    "docker logs": lambda text: (f"2026-01-14T09:04:54.424123456Z {text}", TEXT),
    "docker compose": lambda text: (f"keycloak-1  | {text}", TEXT),
    "cri": lambda text: (f"2026-01-14T09:04:54.424123456Z stdout F {text}", TEXT),
    "fluent-bit": _json(lambda text: [{"date": 1768381494.424, "log": text}]),
    "fluent-bit of kubernetes": _json(
        lambda text: {
            "log": text,
            "time": "2026-01-14T09:04:54.424123456Z",
            "_p": "F",
            "stream": "stdout",
            "kubernetes": {"pod_name": "keycloak-0", "labels": {"app": "keycloak"}},
        }
    ),
    "filebeat": _json(lambda text: {**_BEAT, "message": text, "input": {"type": "filestream"}}),
    "elastic agent": _json(lambda text: {**_BEAT, "event": {"original": text, "dataset": "idp"}, "tags": ["preserve"]}),
    "logstash": _json(
        lambda text: {"@timestamp": "2026-01-14T09:04:54.424Z", "@version": "1", "message": text, "host": "node-1"}
    ),
    "vector": _json(
        lambda text: {
            "file": "/var/log/idp.log",
            "host": "node-1",
            "message": text,
            "source_type": "file",
            "timestamp": "2026-01-14T09:04:54.424123456Z",
        }
    ),
    "datadog": _json(
        lambda text: [
            {"ddsource": "idp", "ddtags": "env:prod", "hostname": "node-1", "service": "idp", "message": text}
        ]
    ),
    "gelf short": _json(
        lambda text: {
            "version": "1.1",
            "host": "node-1",
            "short_message": text,
            "timestamp": 1768381494.424,
            "level": 6,
            "_LoggerName": "org.keycloak.events",
        }
    ),
    "gelf full": _json(
        lambda text: {
            "version": "1.1",
            "host": "node-1",
            "short_message": text[:20],
            "full_message": text,
            "timestamp": 1768381494.424,
        }
    ),
    "cloudwatch": _json(
        lambda text: {
            "messageType": "DATA_MESSAGE",
            "owner": "111111111111",
            "logGroup": "idp",
            "logStream": "idp-0",
            "subscriptionFilters": ["all"],
            "logEvents": [{"id": "319531066069669833788", "timestamp": AT, "message": text}],
        }
    ),
    "azure": _nested(lambda event: {"records": [{"time": "2026-01-14T09:04:54.424Z", **_RESOURCE, "message": event}]}),
    "azure, bare": _nested(lambda event: {"records": [event if isinstance(event, dict) else {"message": event}]}),
    "eventbridge": _nested(
        lambda event: {
            "version": "0",
            "id": "a93b2a2f-53b6-4d7d-9d2b-1e3b1c2d3e4f",
            "detail-type": "SystemLog",
            "source": "aws.partner/okta.com/acme/logs",
            "account": "111111111111",
            "time": "2026-01-14T09:04:54Z",
            "region": "eu-central-1",
            "resources": [],
            "detail": event,
        }
    ),
    "splunk": _nested(
        lambda event: {
            "time": "1768381494.424",
            "host": "acme.okta.com",
            "source": "SystemLog",
            "sourcetype": "OktaIM2:log",
            "event": event,
        }
    ),
    "cloudevents": _nested(
        lambda event: {
            "specversion": "1.0",
            "type": "com.acme.idp.event",
            "source": "/idp",
            "id": "A234-1234-1234",
            "time": "2026-01-14T09:04:54.424Z",
            "datacontenttype": "application/json",
            "data": event,
        }
    ),
    "cloudevents in base64": _json(
        lambda text: {
            "specversion": "1.0",
            "type": "com.acme.idp.event",
            "source": "/idp",
            "id": "A234-1234-1235",
            "time": "2026-01-14T09:04:54.424Z",
            "data_base64": _base64(text),
        }
    ),
    "sns": lambda text: (
        json.dumps(
            {
                "Type": "Notification",
                "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
                "TopicArn": "arn:aws:sns:eu-central-1:111111111111:idp",
                "Message": text,
                "Timestamp": "2026-01-14T09:04:54.424Z",
                "SignatureVersion": "1",
                "Signature": "EXAMPLEw6JRN",
            },
            indent=2,
        ),
        "text/plain",
    ),
    "pubsub": _json(
        lambda text: {
            "message": {
                "attributes": {"origin": "idp"},
                "data": _base64(text),
                "messageId": "2070443601311540",
                "publishTime": "2026-01-14T09:04:54.424Z",
            },
            "subscription": "projects/acme/subscriptions/idp",
        }
    ),
    "kafka": _nested(
        lambda event: [{"topic": "idp", "key": None, "value": event, "partition": 0, "offset": 4711, "timestamp": AT}]
    ),
    "kafka in base64": _json(
        lambda text: [{"topic": "idp", "key": None, "value": _base64(text), "partition": 0, "offset": 4711}]
    ),
    "rfc5424": lambda text: (f'<14>1 2026-01-14T09:04:54.424Z node-1 idp 7 - [meta sequenceId="1" x="]"] {text}', TEXT),
    "rfc5424 with a mark and a length": lambda text: (
        f"{len(text) + 52} <14>1 2026-01-14T09:04:54.424+00:00 node-1 idp - - - \N{ZERO WIDTH NO-BREAK SPACE}{text}",
        TEXT,
    ),
    "rfc3164": lambda text: (f"<14>Jan 14 09:04:54 node-1 idp[712]: {text}", TEXT),
    "a file of rsyslog": lambda text: (f"2026-01-14T09:04:54.424000+00:00 node-1 idp[712]: {text}", TEXT),
    "journald": _json(
        lambda text: {
            "__CURSOR": "s=1",
            "__REALTIME_TIMESTAMP": "1768381494424123",
            "_HOSTNAME": "node-1",
            "SYSLOG_IDENTIFIER": "kc.sh",
            "PRIORITY": "6",
            "MESSAGE": text,
        }
    ),
    "journald, bytes": _json(
        lambda text: {"__REALTIME_TIMESTAMP": "1768381494424123", "_HOSTNAME": "node-1", "MESSAGE": [*text.encode()]}
    ),
    "docker in cri in filebeat": _json(
        lambda text: {
            **_BEAT,
            "input": {"type": "container"},
            "message": "2026-01-14T09:04:54.424123456Z stdout F "
            + json.dumps({"log": text, "stream": "stdout", "time": "2026-01-14T09:04:54.424123456Z"}),
        }
    ),
}

#: Those that do not say when they got what they send, to the second or better.
TIMELESS = {
    "plain message", "plain log", "plain event", "docker compose", "datadog", "azure, bare", "azure", "rfc3164",
    "kafka in base64",
}  # fmt: skip
