from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that is tested here runs a real Keycloak, in one event loop for each of them."""
    for item in items:
        if item.path.parent.name == "keycloak":
            item.add_marker("keycloak")
