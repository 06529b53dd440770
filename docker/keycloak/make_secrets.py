"""Makes what the services of compose.keycloak.yaml prove themselves with, once: a file for each in a folder."""

import base64
import os
import sys
from pathlib import Path

folder = Path(sys.argv[1])
for name, prefix in {
    "webhook": "",
    "event-reader": "",
    "feed": "",
    "keycloak-admin": "",
    "receiver": "whsec_",  # the form of Standard Webhooks
}.items():
    file = folder / name
    if not file.exists():
        partial = file.with_suffix(".partial")
        partial.write_text(f"{prefix}{base64.b64encode(os.urandom(32)).decode()}\n")
        # The containers that read it run as different users; nobody else sees the volume.
        partial.chmod(0o444)
        partial.rename(file)
