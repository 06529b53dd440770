"""A receiver of webhooks: prints the type and the user of each event that is signed with its secret."""

import argparse
import base64
import hmac
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--secret", type=Path, required=True, help="file with the secret, whsec_…")
arguments.add_argument("--host", default="127.0.0.1")
arguments.add_argument("--port", type=int, default=9000)
given = arguments.parse_args()
KEY = base64.b64decode(given.secret.read_text().strip().removeprefix("whsec_"))


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._is_signed(body):
            event = json.loads(body)
            user = event.get("authDetails", {}).get("username", "-")
            # As JSON, since a name may hold characters that a terminal obeys.
            print("received", json.dumps(event["type"]), json.dumps(user), flush=True)
            self.send_response(204)
        else:
            self.send_response(401)
        self.end_headers()

    def _is_signed(self, body: bytes) -> bool:
        """Standard Webhooks: the id, the time and the body, signed a moment ago."""
        timestamp = self.headers.get("webhook-timestamp", "")
        if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > 300:
            return False
        signed = f"{self.headers['webhook-id']}.{timestamp}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
        given = self.headers.get("webhook-signature", "").split()
        return any(hmac.compare_digest(expected.encode(), one.encode()) for one in given)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing: the event itself is printed."""


server = ThreadingHTTPServer((given.host, given.port), Receiver)
print(f"receives on port {server.server_port}", flush=True)
server.serve_forever()
