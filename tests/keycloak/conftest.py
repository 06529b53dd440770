from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.keycloak.distribution import PUSHING, Distribution, NotAvailable
from tests.keycloak.server import Keycloak, Server, asked, started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that is tested here runs a real Keycloak, in one event loop for each file."""
    for item in items:
        if item.path.parent.name == "keycloak":
            item.add_marker("keycloak")


@pytest.fixture(scope="session", params=[PUSHING], ids=lambda one: one.version)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The one server for all tests, Phase Two's listener in it. A test that wants others, too, names them, this one
    first: ``@pytest.mark.parametrize("server", [PUSHING, …], indirect=True, scope="session")``."""
    distribution: Distribution = request.param
    # What has expired is deleted every few seconds, not every 15 minutes.
    variables = {"KC_SPI_SCHEDULED_INTERVAL": "5"}
    if distribution.listener:
        variables["KC_SPI_EVENTS_STORE_PROVIDER"] = "jpa"
    try:
        with started(distribution, tmp_path_factory.mktemp("keycloak"), **variables) as server:
            yield server
    except NotAvailable as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keycloak(server: Server) -> AsyncIterator[Keycloak]:
    """The realm that the server began with. Who changes it makes one of their own (`Keycloak.new_realm`)."""
    async with asked(server) as keycloak:
        yield keycloak
