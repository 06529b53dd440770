"""200,000 stored events of a real Keycloak, pulled for the first time.

Keycloak keeps them in a PostgreSQL, where SQL put them: copies of one login, each with an id, a time and a session of
its own. Floor: one loop that asks for the same pages, one after the other, and throws them away. What the service takes
beyond that is its own; the rest is Keycloak's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import orjson

from adapter.sources.keycloak.stream import PAGE
from tests.bench.processes import run_apart, run_loop
from tests.bench.product import Product, open_product
from tests.bench.result import CannotMeasure, Result, Target
from tests.keycloak.distribution import PUSHING, NotAvailable
from tests.keycloak.server import REALM, Keycloak, running
from tests.postgresql import PASSWORD, Server, find_programs, open_server

EVENTS = 200_000
PAIRS = 3
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
        return await asyncio.to_thread(_pulled, folder, settings, keycloak.url)


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


def _pulled(folder: Path, settings: str, url: str) -> list[Result]:
    floors, products, cpus = [], [], []
    for pair in range(PAIRS):
        floors.append(run_apart(_read, url))
        with open_product(folder / f"adapter-{pair}", settings) as product:
            cpu = product.cpu()
            _wait(product, lambda found: found > 0)
            begin = time.perf_counter()
            end = _wait(product, lambda found: found >= EVENTS)
            cpu = product.cpu() - cpu
        products.append(end - begin)
        cpus.append(cpu / EVENTS * 100_000)
    return [
        Result(
            f"pull: {EVENTS:,} events that a Keycloak has stored, in pages of {PAGE}, floor: reading them",
            "s",
            products,
            floors,
            Target(1.18, at_least=False),
            cpus,
        )
    ]


def _read(url: str) -> float:
    """Seconds in which all pages are read."""
    return run_loop(_read_pages(url))


async def _read_pages(url: str) -> float:
    count, since = 0, 1
    login = {"grant_type": "client_credentials", "client_id": "poller", "client_secret": "poller-secret"}
    headers: dict[str, str] = {}
    async with aiohttp.ClientSession() as session:
        begin = time.perf_counter()
        while True:
            query: dict[str, str | int] = {"dateFrom": since, "direction": "asc", "first": 0, "max": PAGE}
            async with session.get(f"{url}/admin/realms/{REALM}/events", params=query, headers=headers) as answer:
                if answer.status == 401:
                    async with session.post(f"{url}/realms/{REALM}/protocol/openid-connect/token", data=login) as got:
                        headers = {"Authorization": f"Bearer {(await got.json())['access_token']}"}
                    continue
                rows = orjson.loads(await answer.read())
            if len(rows) < PAGE:
                break
            count, since = count + PAGE, rows[-1]["time"]
        if count < EVENTS * 0.99:
            raise CannotMeasure(f"only {count} of {EVENTS} events were read")
        return time.perf_counter() - begin


def _wait(product: Product, holds: Callable[[float], bool]) -> float:
    """When it holds for the number of events that are stored."""
    begin = time.perf_counter()
    while (now := time.perf_counter()) - begin < _PATIENCE:
        if holds(product.metrics().get("idp_adapter_events_accepted_total", 0)):
            return now
        time.sleep(0.1)
    raise CannotMeasure(f"not all events were read after {_PATIENCE:g} s")
