"""Logs in to a Keycloak, first with a wrong password, and prints what the adapter's feed has of it."""

import argparse
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

#: Seconds in which Keycloak starts, also on a slow machine, and in which its events come.
PATIENCE = 600

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--keycloak", required=True, help="its address")
arguments.add_argument("--adapter", required=True, help="its address")
arguments.add_argument("--key", type=Path, required=True, help="file with a token that may read the feed")
given = arguments.parse_args()


def log_in(password: str) -> int:
    form = {"grant_type": "password", "client_id": "shop", "username": "anna", "password": password}
    url = f"{given.keycloak}/realms/demo/protocol/openid-connect/token"
    try:
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def events_since(begin: float) -> list[dict[str, Any]]:
    query = urllib.parse.urlencode({"type": "access.LOGIN*", "user": "anna", "from": int(begin * 1000)})
    request = urllib.request.Request(f"{given.adapter}/events?{query}")
    request.add_header("Authorization", f"Bearer {given.key.read_text().strip()}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return list(json.loads(answer.read())["events"])


def main() -> None:
    begin = time.time()
    end = begin + PATIENCE
    print("waiting for Keycloak", flush=True)
    while True:
        try:
            log_in("a-wrong-password")
            break
        except OSError:
            if time.time() > end:
                raise SystemExit("Keycloak did not answer: docker compose logs keycloak") from None
            time.sleep(1)
    assert log_in("annas-password") == 200
    print("anna logged in, at the second try; the adapter's feed:", flush=True)
    while len(events := events_since(begin)) < 2:
        if time.time() > end:
            raise SystemExit("no event came: docker compose logs keycloak adapter")
        time.sleep(0.2)
    for event in reversed(events):
        print(
            json.dumps(
                {name: event[name] for name in ("time", "type", "outcome", "authDetails", "error") if name in event}
            )
        )


main()
