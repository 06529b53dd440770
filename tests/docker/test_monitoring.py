"""Alerts and the dashboard: what they name is in the metrics of a real service, and a real Prometheus takes them.

Prometheus and promtool are Debian's package `prometheus`, or any other; without them the tests that need them are
skipped. Grafana does not run here: its dashboard is held to what is documented of its form.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientError, ClientSession

from tests.docs.test_pages import anchors
from tests.opened import KEYCLOAK, Opened, opened

TOP = Path(__file__).parent.parent.parent
RULES = TOP / "docker" / "prometheus" / "rules.yml"
DASHBOARD = TOP / "docker" / "grafana" / "idp-adapter.json"
_METRIC = re.compile(r"\bidp_adapter_\w+")


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [one for one in found if one["type"] != "row"]


def expressions() -> Iterator[str]:
    """Of the rules, of the dashboard's panels and of its variables, as Prometheus gets them."""
    yield from (rule["expr"] for rule in alerts())
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "1m")
            yield text.replace("$job", ".+").replace("$instance", ".+")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Opened]:
    """A service that has something of everything."""
    sinks = [{"name": "copy", "kind": "file", "path": tmp_path / "copy", "from": "beginning"}]
    nobody = {"url": "http://127.0.0.1:1", "realms": ["acme"], "client_id": "poller", "client_secret": "none"}
    sources = [
        {"name": "keycloak", "provider": "keycloak"},
        {"name": "onewelcome", "provider": "onewelcome"},
        {"name": "pulled", "provider": "keycloak", "pull": nobody},
    ]
    keys = [{"name": "prometheus", "token": "metrics-token", "permissions": ["metrics"]}]
    store = {"keep": "1d"}
    async with opened(tmp_path / "data", sinks=sinks, sources=sources, keys=keys, store=store) as one:
        await one.post(KEYCLOAK)
        await one.post(KEYCLOAK)
        await one.post([{"type": "odd"}])
        yield one


async def test_every_metric_that_is_named_is_one_of_a_real_service(service: Opened) -> None:
    async with service.session.get("/metrics") as response:
        text = await response.text()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    known = set(types)
    known |= {f"{name}_{part}" for name, type in types.items() if type == "histogram" for part in ("bucket", "sum")}
    named = {name for expression in expressions() for name in _METRIC.findall(expression)}
    assert len(named) > 30
    assert sorted(named - known) == []


def test_every_alert_says_what_to_do_and_names_a_section_that_there_is() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names)) > 20
    page = (TOP / "docs" / "operate.md").read_text()
    for rule in alerts():
        told = rule["annotations"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(told) == {"summary", "description", "runbook"}
        place, _, anchor = told["runbook"].partition("#")
        assert anchor in anchors(TOP / place), told["runbook"]
        assert f"`{rule['alert']}`" in page, rule["alert"]


def test_every_panel_of_the_dashboard_asks_something_and_none_lies_over_another() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    places: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not places & cells, panel["title"]
        places |= cells
    assert all(panel["targets"] and panel["title"] for panel in panels())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    names = {one["name"] for one in dashboard["templating"]["list"]}
    assert {one for panel in panels() for one in re.findall(r"\$\{?([a-z]\w*)", json.dumps(panel))} == names


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install prometheus)")
    return found


def test_alerts_fire_when_they_should_and_only_then() -> None:
    for what, file in (("check", RULES), ("test", RULES.with_name("rules.test.yml"))):
        done = subprocess.run([tool("promtool"), what, "rules", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_of_its_own() -> None:
    tests = yaml.safe_load(RULES.with_name("rules.test.yml").read_text())["tests"]
    fired = {
        name
        for test in tests
        for case in test["promql_expr_test"]
        if case["exp_samples"]
        for name in re.findall(r'alertname="(\w+)"', case["expr"])
    }
    assert {rule["alert"] for rule in alerts()} == fired


async def test_a_prometheus_scrapes_a_service_and_answers_what_rules_and_dashboard_ask(
    service: Opened, tmp_path: Path
) -> None:
    program = tool("prometheus")
    settings = yaml.safe_load(RULES.with_name("prometheus.yml").read_text())
    (tmp_path / "token").write_text("metrics-token")
    [job] = settings["scrape_configs"]
    job["authorization"]["credentials_file"] = str(tmp_path / "token")
    job["static_configs"] = [{"targets": [service.service.url.removeprefix("http://").rstrip("/")]}]
    settings["global"] = {"scrape_interval": "250ms", "evaluation_interval": "250ms"}
    settings["rule_files"] = [str(RULES)]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings))
    async with prometheus(program, tmp_path) as ask:
        await until(lambda: ask("up == 1"))
        await until(lambda: ask("idp_adapter_log_position > 0"))
        for expression in expressions():
            await ask(expression)
        assert await ask("sum(idp_adapter_events_accepted_total) >= 1")
        states = await ask('idp_adapter_sink_state{sink="copy"}')
        assert {one["metric"]["state"] for one in states} == {"running", "down", "paused", "stopped"}


async def until(asked: Callable[[], Awaitable[object]]) -> None:
    """Return when something is so."""
    while True:
        if await asked():
            return
        await asyncio.sleep(0.1)


@asynccontextmanager
async def prometheus(program: str, folder: Path) -> AsyncIterator[Any]:
    """A Prometheus with the settings in a folder; gives what answers an expression."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    )
    try:
        async with ClientSession(f"http://127.0.0.1:{port}") as session:

            async def ask(expression: str) -> list[dict[str, Any]]:
                async with session.get("/api/v1/query", params={"query": expression}) as response:
                    answer = await response.json(content_type=None)
                    assert response.status == 200, f"{expression}: {answer}"
                    found: list[dict[str, Any]] = answer["data"]["result"]
                    return found

            async def is_ready() -> bool:
                assert process.returncode is None
                with suppress(ClientError):
                    async with session.get("/-/ready") as response:
                        return response.status == 200
                return False

            await until(is_ready)
            yield ask
    finally:
        process.terminate()
        await process.wait()
