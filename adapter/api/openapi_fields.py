"""What fields of ``/openapi.json`` mean, and examples of them, where their models do not say so themselves.

A field of one name means the same nearly everywhere in the interface: so it is described here once. What a request
must say to make sense is written beside its model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Epoch milliseconds.
_MOMENT = 1_790_000_000_000
_UID = "6ab16d80-8a3f-8d51-9c4e-3f6f2b41a0c7"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_RAW = {"type": "LOGIN_ERROR", "time": _MOMENT, "userId": "1f6a2c", "error": "invalid_user_credentials"}

#: How deep an example goes: schemas may contain themselves.
_DEPTH = 6

#: Of a field of this name, one value.
_BY_NAME: Mapping[str, Any] = {
    "access_token": "idpa_0123456789abcdef",
    "If-Match": '"3f6f2b41"',
    "If-None-Match": "*",
    "Last-Event-ID": "nBQ7mR3k",
    "Prefer": "return=representation",
    "actor": "anna",
    "after": _UID,
    "audience": "https://soc.example",
    "authClient": "security-admin-console",
    "authIpAddress": "203.0.113.7",
    "authRealm": "master",
    "authUser": "1f6a2c",
    "address": "203.0.113.7",
    "advice": "idp-adapter sources list shows its token",
    "algorithm": "ed25519",
    "answer": "the receiver answered 503",
    "bucket": "hour",
    "by": "administrator",
    "city": "Utrecht",
    "client": "account-console",
    "clientId": "account-console",
    "code": "unknown_type",
    "column": 7,
    "country": "NL",
    "createdBy": "administrator",
    "changedBy": "administrator",
    "crv": "Ed25519",
    "cursor": "nBQ7mR3k",
    "dateFrom": "2026-09-01",
    "dateTo": "2026-09-30",
    "delimiter": "comma",
    "description": "Failed logins of the last day",
    "detail": "limit='many' is not right; it must be a whole number from 1 to 1000",
    "device": "iPhone",
    "dormant_since": "90d",
    "email": "anna@acme.example",
    "error": "invalid_user_credentials",
    "event_type": "access.LOGIN",
    "excerpt": '{"error":"busy"}',
    "factor": "otp",
    "field": "user",
    "file": "mapping.yaml",
    "filter": "user",
    "format": "csv",
    "from": "24h",
    "forwarder": "logstash",
    "generatedAt": "2026-09-21T13:46:40Z",
    "generatedBy": "auditor",
    "group": "login",
    "id": "0f7b1a52-0001-4e0a-9a57-0f0f6a1c9e11",
    "idp": "google",
    "ip": "203.0.113.7",
    "ipAddress": "203.0.113.7",
    "key": "user-1f6a2c",
    "kid": "k1",
    "kind": "webhook",
    "kty": "OKP",
    "label": "SOC of Acme",
    "lastAt": _MOMENT,
    "level": "error",
    "line": 12,
    "linkedBy": "email",
    "managed": "api",
    "mapping": "keycloak@1",
    "meaning": "A login failed",
    "media": "application/json",
    "message": "no row fits",
    "method": "password",
    "name": "keycloak",
    "nativeType": "LOGIN_ERROR",
    "native_type": "LOGIN_ERROR",
    "next": "nBQ7mR3k",
    "note": "named success, described as failed",
    "operation": "UPDATE",
    "operationType": "UPDATE",
    "operationTypes": "CREATE",
    "other": "copy",
    "order": "time",
    "path": "details.username",
    "pattern": "LOGIN*",
    "permission": "read",
    "place": "Utrecht, NL",
    "prefix": "an",
    "problem": "no row of the table fits LOGIN_ERRORS",
    "provider": "keycloak",
    "providers": ["keycloak"],
    "q": "reset pass*",
    "query": "outcome=failure&from=24h",
    "raw": _RAW,
    "realm": "acme",
    "realmId": "acme",
    "realmName": "acme",
    "realms": ["acme"],
    "reason": "bad_credentials",
    "received_from": "7d",
    "received_to": "now",
    "reader": "sink:soc",
    "remembered": "all",
    "representation": '{"enabled":false}',
    "resource": "users/1f6a2c",
    "resourcePath": "users/1f6a2c",
    "resourceType": "USER",
    "resourceTypes": "USER",
    "risk": "high",
    "search": "soc.example",
    "seen": "3f6f2b41",
    "sid": _UID,
    "since": "7d",
    "savedBy": "anna",
    "scope": "read",
    "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "sentence": "anna could not log in to account-console: bad_credentials",
    "service": "idp-adapter 1.0.0",
    "session": "5d3c1f",
    "sessionId": "5d3c1f",
    "sha256": _SHA256,
    "sink": "soc",
    "source": "keycloak",
    "sources": ["keycloak"],
    "state": "running",
    "status": 200,
    "store": "sqlite",
    "target": "bert",
    "text": "anna could not log in",
    "title": "Bad parameter",
    "to": "now",
    "token": "idpa_0123456789abcdef",
    "token_type": "Bearer",
    "type": "access.LOGIN_ERROR",
    "tz": "Europe/Amsterdam",
    "uid": _UID,
    "uids": [_UID],
    "unit": "ms",
    "url": "https://soc.example/events",
    "user": "anna",
    "userId": "1f6a2c",
    "username": "anna",
    "value": "anna",
    "version": "3f6f2b41",
    "via": "email",
    "word": "when",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "zone": "Europe/Amsterdam",
}
#: What fields of these names mean; of one model alone: MODEL.FIELD.
_MEANINGS: Mapping[str, str] = {
    "absent": "Fields that it does not have, and what was looked for",
    "access_token": "The token",
    "accounts": "Accounts that are taken for this person's",
    "advice": "What to do about it",
    "algorithm": "As it was given",
    "also": "Further events of the same record",
    "answer": "The last answer",
    "attempts": "The attempts",
    "audience": "As it was given",
    "authDetails": "Who acted",
    "authType": "`none`, `hmac`, `bearer` or `headers`",
    "before": "What it was before",
    "begin": "When it began, epoch milliseconds",
    "bucket": "The stretch of time that is counted",
    "by": "By what, or by whom",
    "bytes": "Its length",
    "changedAt": "When it was changed last, epoch milliseconds",
    "changedBy": "Who changed it last",
    "client": "Client or application",
    "clientId": "Client",
    "code": "What kind of fault it is",
    "codes": "One-time codes that were made for it",
    "column": "The column, from 1, in characters",
    "connect": "To connect, TLS included",
    "count": "How many",
    "counts": "How many of each",
    "covered": "Types that the table has a row for",
    "createdAt": "When it was made, epoch milliseconds",
    "createdBy": "Who made it",
    "crv": "Its curve",
    "dead": "What was given up on",
    "delivered": "Events that the receiver took",
    "details": "Everything else that the event says",
    "device": "Device, id or name",
    "durations": "How long its parts took",
    "enabled": "Whether anything is sent",
    "end": "When it ended, epoch milliseconds",
    "endedAt": "When it ended, epoch milliseconds; null: it is under way",
    "entries": "How many entries",
    "error": "The error code",
    "error_description": "The same for people",
    "event": "The event",
    "eventTypes": "Types that are sent",
    "events": "The events",
    "example": "The example",
    "examples": "The examples",
    "excerpt": "The beginning of the answer's body, as it came",
    "expiresAt": "When it ends, epoch milliseconds; null: never",
    "expires_in": "Seconds for which it may be used",
    "explanations": "One for each event",
    "extra": "Types that the vendor's list does not have",
    "failed": "The part of its condition that did not hold",
    "families": "Types that a row for many of them takes",
    "fault": "Who has to mend it: receiver, network, ours; null: nobody, or not known",
    "field": "The filter",
    "fields": "What gave each field",
    "file": "The file",
    "findings": "What was found",
    "firstByte": "From the beginning to the head of the answer",
    "firstSeen": "When an event of it happened first, epoch milliseconds",
    "format": "What it is written as",
    "from": "From when on, epoch milliseconds",
    "held": "Events that failed, and wait for their next try",
    "id": "Its own id",
    "identity": "By what events are known, before and after",
    "ignored": "Whether the table leaves it out",
    "in_log": "How many of these the log has",
    "ip": "Address",
    "ipAddress": "Address",
    "items": "The stories",
    "keys": "The keys",
    "kept_from": "From when on the server keeps events, epoch milliseconds",
    "kind": "What kind it is of",
    "known_by": "By what it is known",
    "kty": "Its type",
    "label": "For whom it is",
    "last": "The latest, epoch milliseconds",
    "lastAt": "The last time, epoch milliseconds",
    "lastSeen": "When an event of it happened last, epoch milliseconds",
    "lastSuccess": "When somebody got in last, epoch milliseconds",
    "line": "The line, from 1",
    "lines": "What is different, a line each",
    "linkedBy": "Why it is taken for this person's",
    "links": "The links",
    "logins": "Logins from there",
    "mappings": "The tables",
    "matched": "Events that the filter took",
    "media": "Media type of the raw event; default: JSON",
    "missing": "What is missing",
    "missing_count": "How many are missing",
    "name": "Its name",
    "names": "Whether names were looked up",
    "nativeType": "Its native type; null: it could not be read",
    "native_type": "Its native type",
    "next": "The cursor of the next page; null at the end",
    "note": "A remark in the table",
    "now": "The time of the service, epoch milliseconds",
    "on_server": "Events that the server has",
    "only_in_log": "Events that the log alone has",
    "operationType": "What was done: CREATE, UPDATE, DELETE, ACTION",
    "order": "`time` or `log`",
    "outcome": "What came of it",
    "outcomes": "How often, by outcome",
    "p50": "Of 50",
    "p95": "Of 95",
    "p99": "Of 99",
    "payloadFormat": "As it was given",
    "people": "The accounts",
    "permissions": "What it may",
    "place": "Where it lies",
    "position": "Its entry's place in the log",
    "problem": "What is wrong; null: nothing",
    "progress": "How far it is",
    "provider": "Kind of identity provider",
    "providers": "Providers that it is limited to; null: it is not",
    "query": "Filters, as in the address of GET /events",
    "question": "What was asked",
    "realm": "Realm or tenant, by name",
    "realmId": "Realm or tenant, by id",
    "realmName": "Realm or tenant, by name",
    "reason": "Why",
    "receivedAt": "When it arrived, epoch milliseconds",
    "refresh_expires_in": "Seconds for which it may be renewed",
    "refused": "Requests that were refused",
    "repaired": "How many were fetched",
    "representation": "What became of the thing that it is about, as JSON in a text",
    "resourcePath": "Path of the thing that it is about",
    "resourceType": "Kind of the thing that it is about",
    "result": "What came of it",
    "revisions": "Whether corrections of earlier events are in it",
    "rows": "The rows that were tried",
    "scope": "What it may be used for",
    "searches": "The saved searches",
    "seconds": "How long it took",
    "secret": "The secret: it is shown this once",
    "sentence": "What happened, for people",
    "sessionId": "The provider's session id",
    "sessions": "The sessions",
    "shapes": "The shapes that were tried",
    "shares": "By source and type",
    "silentSince": "Since when nothing came that should, epoch milliseconds; null: it is not silent",
    "since": "From when on, epoch milliseconds",
    "sink": "Name of the sink",
    "sinks": "The sinks",
    "skipped": "Events that were given up by somebody",
    "source": "Name of the source",
    "sources": "The sources",
    "stage": "How far it came",
    "state": "How it stands",
    "status": "Status of the answer; null: none came",
    "status_message": "What the answer said",
    "taken": "Whether it fits",
    "test": "What came of a test event",
    "text": "The text",
    "texts": "The texts of its files",
    "to": "Up to when, epoch milliseconds",
    "token_type": "`Bearer`",
    "total": "Altogether",
    "tries": "Failed tries of it",
    "type": "Its type",
    "types": "The types",
    "tz": "The zone whose days these are",
    "uid": "The event's uid",
    "unknown": "Types that the table does not take",
    "unmapped": "Types of the vendor's list that have no row",
    "until": "Until when, epoch milliseconds",
    "url": "Its address",
    "userId": "Id of the user",
    "username": "Name of the user",
    "value": "The value",
    "values": "The values",
    "verdict": "What becomes of it",
    "version": "Its version",
    "warnings": "What looks like a slip",
    "webhook": "The webhook",
    "x": "Its value, as RFC 8037 has it",
    "Alive.status": "`ok`",
    "DeletedSearch.deleted": "Name of the search",
    "EventCounts.by": "What is counted",
    "LinkAttempt.at": "When it began, epoch milliseconds",
    "LinkAttempt.events": "How many events it was for",
    "Manifest.last": "Its last event, in the order of the file; null: it has none",
    "Problem.status": "The status of the answer",
    "Problem.type": "Always about:blank; the title tells problems apart",
    "Ready.status": "`ready`",
    "SentencePart.text": "The text of this piece",
    "TimelineTold.items": "The stories, the newest first",
    "UsedTold.name": "The device, or the address",
}
#: Of a schema of this name.
_BY_MODEL: Mapping[str, Any] = {
    "Problem": {
        "type": "about:blank",
        "title": "Bad parameter",
        "status": 400,
        "detail": "limit='many' is not right; it must be a whole number from 1 to 1000",
    },
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def completed(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas, each with an example, and each of their fields with what it means."""
    return {
        name: {
            **_described(name, schema),
            "examples": schema.get("examples") or [example(schema, schemas, name)],
        }
        for name, schema in schemas.items()
    }


def _described(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    # Where one model is both sent and answered, its name has an ending.
    model = name.removesuffix("-Input").removesuffix("-Output").rpartition("__")[2]
    fields = {
        field: about if "description" in about else {**about, "description": _meaning(model, field)}
        for field, about in schema.get("properties", {}).items()
    }
    return {**schema, "properties": fields} if fields else {**schema}


def _meaning(model: str, field: str) -> str:
    return _MEANINGS.get(f"{model}.{field}", _MEANINGS.get(field, ""))


def example(schema: Any, schemas: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that fits a schema. ``name``: of the field or model that it is of; ``schemas``: those it may name."""
    name = name.removeprefix("not_")
    if not isinstance(schema, dict):
        return _BY_NAME.get(name, {})
    if "$ref" in schema:
        model = schema["$ref"].rpartition("/")[2]
        return example(schemas[model], schemas, model, depth)
    if name in _BY_MODEL:
        return _BY_MODEL[name]
    if schema.get("examples"):
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    options: Sequence[Any] = schema.get("anyOf") or schema.get("oneOf") or ()
    if any(one.get("enum") or "$ref" in one for one in options):
        return example(next(one for one in options if one.get("type") != "null"), schemas, name, depth)
    if schema.get("enum"):
        return schema["enum"][0]
    if name in _BY_NAME and _fits(_BY_NAME[name], schema):
        return _BY_NAME[name]
    if options:
        return example(next(one for one in options if one.get("type") != "null"), schemas, name, depth)
    if schema.get("default") is not None and schema.get("type") not in ("array", "object"):
        return schema["default"]
    return _of_type(schema, schemas, name, depth)


def _of_type(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str, depth: int) -> Any:
    match schema.get("type"):
        case "object" if "properties" in schema:
            needed = schema.get("required", ())
            return {
                field: example(about, schemas, field, depth + 1)
                for field, about in schema["properties"].items()
                if depth < _DEPTH or field in needed
            }
        case "object":
            more = schema.get("additionalProperties")
            key = example(schema["propertyNames"], schemas) if "propertyNames" in schema else "name"
            return {} if depth >= _DEPTH or not more else {key: example(more, schemas, "", depth + 1)}
        case "array":
            if "prefixItems" in schema:
                return [example(one, schemas, "", depth + 1) for one in schema["prefixItems"]]
            of = name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")
            return [] if depth >= _DEPTH else [example(schema.get("items", {}), schemas, of, depth + 1)]
        case "integer" | "number":
            is_moment = name.endswith("At") or "epoch milliseconds" in schema.get("description", "").lower()
            return _MOMENT if is_moment else schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
        case "string":
            return "text"
        case _:
            return _RAW


def _fits(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether a value is of a schema's type."""
    options = schema.get("anyOf", schema.get("oneOf"))
    if options is not None:
        return any(_fits(value, one) for one in options)
    type = schema.get("type")
    if type is None:
        return "$ref" not in schema
    if isinstance(value, list):
        return type == "array" and all(_fits(one, schema.get("items", {})) for one in value)
    return isinstance(value, _TYPES.get(type, ())) and type != "object" and "pattern" not in schema
