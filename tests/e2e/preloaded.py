"""What a service has imported and read before it serves; imported by the process that services are forked off."""

from __future__ import annotations

from adapter.__main__ import make_app
from adapter.resources import mappings_path
from adapter.tables.in_use import Tables
from adapter.workbench.dictionary import make_dictionary

make_app("serve")
# Tables are compiled once for each text that their files have, and new logs begin with the same dictionary.
make_dictionary(Tables([mappings_path()]).values())
