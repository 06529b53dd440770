"""200,000 stored events of a real Keycloak, pulled for the first time.

Keycloak keeps them in a PostgreSQL, where SQL put them: copies of one login, each with an id, a time and a session of
its own. What is measured is how much of the time the service computes; the rest is Keycloak's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from tests.bench.processes import run_loop
from tests.bench.product import Product, open_product
from tests.bench.result import CannotMeasure, Result, Target
from tests.keycloak.distribution import PUSHING, NotAvailable
from tests.keycloak.server import REALM, Keycloak, running
from tests.postgresql import PASSWORD, Server, find_programs, open_server

EVENTS = 200_000
#: Milliseconds between two of them.
STEP = 40
#: Seconds.
_PATIENCE = 1800.0

_COPY = """
INSERT INTO event_entity (id, client_id, details_json, error, ip_address, realm_id, session_id, event_time, type,
    user_id, details_json_long_value)
SELECT gen_random_uuid()::text, client_id, details_json, error, ip_address, realm_id, gen_random_uuid()::text,
    event_time - number::bigint * $1::int, type, user_id, details_json_long_value
FROM (SELECT * FROM event_entity WHERE type = 'LOGIN' LIMIT 1) AS login, generate_series(1, $2::int) AS number
"""


def measure(folder: Path) -> list[Result]:
    """The row ``backfill``."""
    if find_programs() is None:
        raise CannotMeasure("PostgreSQL's server is not installed; on Debian: apt-get install postgresql")
    with open_server(folder) as server:
        return run_loop(_measure(folder, server))


async def _measure(folder: Path, server: Server) -> list[Result]:
    async with _filled(folder, server) as keycloak:
        settings = f"""
[outgoing]
allow = ["127.0.0.0/8"]
[[sources]]
name = "keycloak"
provider = "keycloak"
[sources.pull]
url = "{keycloak.url}"
realms = ["{REALM}"]
client_id = "poller"
client_secret = "poller-secret"
"""
        return await asyncio.to_thread(_pulled, folder, settings)


@asynccontextmanager
async def _filled(folder: Path, server: Server) -> AsyncIterator[Keycloak]:
    """A Keycloak with so many events."""
    connection = await asyncpg.connect(server.url("postgres"))
    try:
        await connection.execute("CREATE DATABASE keycloak")
    finally:
        await connection.close()
    variables = {
        "KC_DB": "postgres",
        "KC_DB_URL": f"jdbc:postgresql://127.0.0.1:{server.port}/keycloak",
        "KC_DB_USERNAME": "adapter",
        "KC_DB_PASSWORD": PASSWORD,
        "KC_SPI_EVENTS_STORE_PROVIDER": "jpa",
    }
    try:
        async with running(PUSHING, folder, **variables) as keycloak:
            await keycloak.admin("PUT", "/events/config", {"eventsEnabled": True})
            status, answer = await keycloak.login("alice", "alice-pw")
            if status != 200:
                raise CannotMeasure(f"Keycloak refused a login: {answer}")
            connection = await asyncpg.connect(server.url("keycloak"))
            try:
                await connection.execute(_COPY, STEP, EVENTS)
                await connection.execute("ANALYZE event_entity")
            finally:
                await connection.close()
            yield keycloak
    except NotAvailable as problem:
        raise CannotMeasure(str(problem)) from None


def _pulled(folder: Path, settings: str) -> list[Result]:
    begin = time.perf_counter()
    with open_product(folder / "adapter", settings) as product:
        cpu = product.cpu()
        seconds = _wait(product, begin) - begin
        cpu = product.cpu() - cpu
    return [
        Result(
            f"pull: {EVENTS:,} events that a Keycloak has stored, from the service's start",
            "events/s",
            [EVENTS / seconds],
            cpu=[cpu / EVENTS * 100_000],
        ),
        Result(
            f"pull of {EVENTS:,} events: CPU of the service, all its processes, floor: time that it took",
            "s",
            [cpu],
            [seconds],
            Target(0.15, at_least=False),
        ),
    ]


def _wait(product: Product, begin: float) -> float:
    """When all of them are stored."""
    while (now := time.perf_counter()) - begin < _PATIENCE:
        if product.metrics().get("idp_adapter_events_accepted_total", 0) >= EVENTS:
            return now
        time.sleep(0.2)
    raise CannotMeasure(f"not all events were read after {_PATIENCE:g} s")
