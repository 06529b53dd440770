"""Hostile text in every field that a provider fills in: through every page, export, command and sink, and into the
service's own log.

Of the examples of every table, each text is replaced by an attack where the table still makes the same event of it;
and once all of them are, so that the event is quarantined.
"""

from __future__ import annotations

import asyncio
import copy
import csv
import io
import itertools
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urldefrag, urljoin, urlsplit

import pyarrow.parquet
import pypdf
import pytest
import pytest_asyncio
import structlog
from playwright.async_api import Dialog
from prometheus_client.parser import text_string_to_metric_families

from adapter.console.sections import SECTIONS
from adapter.logs import configure_logs
from adapter.mapping.table import Table
from adapter.workbench.apply import apply
from adapter.workbench.examples import read_examples
from tests.console.conftest import Console, Visitor, visiting
from tests.console.hook import Hook, hooking
from tests.e2e.process import until
from tests.opened import Opened, login, opened

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy]

#: N is another number each time, so that no event is a copy of another one.
ATTACKS = (
    # Markup, out of texts, attributes, scripts and comments.
    "<hostile-x data-hostile=N onclick=attack()>N</hostile-x>",
    "'\"><img src=x data-hostile onerror=attack(N)>",
    '" data-hostile autofocus onfocus="attack(N)" x="',
    "' data-hostile onmouseover='attack(N)",
    "N data-hostile onmouseover=attack() ",
    "javascript:attack(N)//",
    " \x01java\tscript:attack(N)",
    "data:text/html,<hostile-x data-hostile>N",
    "//attacker.example/N",
    "--></textarea></title></style></script><script data-hostile>attack(N)</script>",
    "<hostile-x data-hostile hx-get=/ui/about hx-trigger=load data-row>N",
    "&lt;hostile-x data-hostile&gt;N&#60;hostile-x&#62;",
    # Templates.
    "{{7*7777777}}${7*7777777}<%= 7*7777777 %>#{7*7777777}{%raw%}N",
    "{username}{0.__class__}%(name)s%sN",
    # Formulas.
    "=cmd|' /C calc'!A0N",
    "+1+N",
    "-2+3+cmd|N",
    "@SUM(1+N)",
    "\t=1+N",
    "\r=1+N",
    "\n=1+N",
    "\u00a0 =1+N",
    "＝1+N",
    '",=1+N,"',
    "';=1+N\t=1",
    "\u200b=1+N",
    # Lines, fields and headers of somebody's own.
    "N\r\nX-Hostile: N\r\n\r\n<hostile-x data-hostile>",
    "N\nX-Hostile: N",
    '"}\n{"level":"error","event":"forged","n":"N"}',
    "N\n\n2026-01-01T00:00:00Z [error] forged N=N",
    "N event=forged level=error",
    "data: N\n\nevent: forged\ndata: N",
    "N\u2028forged\u2029forged\x85forged\x0bforged\x0cforged",
    # What moves a cursor, or turns the direction of writing.
    "N\x00forged",
    "\x1b[2J\x1b]0;N\x07\x1b[31m",
    "\x9b2JN",
    "\u202egnp.N\u2066\u2067\u061c",
    "\ufeff\u200b\u2060N",
    "N\b\b\b\x7f",
    # What is no text: half a pair, no character, none of this plane.
    "\ud800N",
    "N\udc00\ud800",
    "\ufffeN\uffff\U0010ffff",
    "../../../N/..%2f..%00",
    # What a shell would do, where a command is shown to be copied.
    "--url=http://attacker.example/N",
    "'; touch attacked #N",
    "$(touch attacked)`touch attacked`N",
    "%0d%0aX-Hostile:%20N",
    "N" + "<" * 3000,
    "N" + "\u202e=" * 1500,
    "",
)
#: Names of users that commands which are shown hold.
COPIED = ("--url=http://attacker.example/", "'; touch attacked #", "$(touch attacked)`touch attacked`")
#: Of each table so many examples, those first that have fields which none before them has.
EXAMPLES = 6
#: Pages of one route that are looked at, and of these so many in the browser.
PAGES, SEEN = 5, 2
#: No text for people has one of these: they move cursors, end lines, or turn the direction of writing.
UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
FORMULA = re.compile(r"\s*[=+\-@\t\r\n＝＋－＠]")

_numbers = itertools.count(100_001)


def attack() -> str:
    """The next one."""
    number = next(_numbers)
    return ATTACKS[number % len(ATTACKS)].replace("N", str(number))


def places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where texts stand in JSON."""
    if isinstance(value, str):
        yield place
    elif isinstance(value, dict | list):
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(one, (*place, name))


def replaced(raw: Any, place: tuple[str | int, ...], text: str) -> Any:
    raw = copy.deepcopy(raw)
    *above, last = place
    inner = raw
    for one in above:
        inner = inner[one]
    inner[last] = text
    return raw


def body_of(raw: Any) -> bytes:
    """In ASCII: half a pair has no UTF-8."""
    return json.dumps(raw).encode()


def made_of(table: Table, raw: Any) -> list[str | None]:
    """The types of what a table makes of it; ``None`` for what becomes no event."""
    return [one.get("type") for one in apply(table, body_of(raw), 1_790_000_000_000)]


def attacked(table: Table, raw: Any) -> Any:
    """The same with attacks in every text that may be another one without being another event."""
    types = made_of(table, raw)
    for place in [*places(raw)]:
        tried = replaced(raw, place, attack())
        if made_of(table, tried) == types:
            raw = tried
    return raw


def hostile_events(table: Table) -> Iterator[Any]:
    """What a hostile provider posts."""
    known: set[tuple[str, ...]] = set()
    chosen: list[tuple[int, Any]] = []
    for placed in read_examples(table.folder):
        raw = placed.example.raw
        if isinstance(raw, dict) and placed.example.media == "application/json" and None not in made_of(table, raw):
            fields = {tuple(one for one in place if isinstance(one, str)) for place in places(raw)}
            if fields - known or not chosen:
                known |= fields
                chosen.append((len(fields), raw))
    for _, raw in sorted(chosen, key=lambda one: -one[0])[:EXAMPLES]:
        yield attacked(table, raw)
    everything = chosen[-1][1]
    for place in [*places(everything)]:
        everything = replaced(everything, place, attack())
    yield everything


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Hook]:
    async with hooking() as one:
        yield one


@pytest.fixture(scope="module")
def service_log() -> Iterator[io.StringIO]:
    """What the service logs in this process."""
    root, stderr = logging.getLogger(), sys.stderr
    handlers, level = root.handlers, root.level
    sys.stderr = io.StringIO()
    try:
        configure_logs("info", "json")
        written, sys.stderr = sys.stderr, stderr
        yield written
    finally:
        sys.stderr, root.handlers = stderr, handlers
        root.setLevel(level)
        structlog.reset_defaults()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_service(
    tmp_path_factory: pytest.TempPathFactory, receiver: Hook, service_log: io.StringIO
) -> AsyncIterator[Opened]:
    """A service to which every provider posts attacks, and whose receivers answer with them."""
    receiver.text = "".join(attack() for _ in ATTACKS).encode("utf-8", "replace").decode()
    folder = tmp_path_factory.mktemp("sinks")
    webhooks: dict[str, dict[str, Any]] = {
        "binary": {"format": {"name": "cloudevents", "mode": "binary"}},
        "batch": {"batch": {"entries": 50}},
        "phasetwo": {"format": "phasetwo"},
    }
    sinks: list[dict[str, Any]] = [
        {"name": name, "kind": "webhook", "url": receiver.url, "attempts": "all", "filter": {"type": "*"}, **more}
        for name, more in webhooks.items()
    ]
    sinks.append(
        {"name": "file", "kind": "file", "path": folder / "file", "filter": {"type": "*"}, "from": "beginning"}
    )
    async with opened(tmp_path_factory.mktemp("hostile"), outgoing={"allow": ["127.0.0.0/8"]}, sinks=sinks) as service:
        for source in service.service.sources:
            table = service.service.tables[source.provider]
            for raw in hostile_events(table):
                data = body_of(raw)
                headers = {"Content-Type": "application/json"}
                async with service.session.post(f"/ingest/{source.name}", data=data, headers=headers) as response:
                    received = await response.json()
                    assert (response.status, received["duplicates"]) == (202, 0), data
        for number, name in enumerate(COPIED, 1):
            await service.post(login(number, id=str(number), userId=name, time=1_790_000_000_000 + number))
        yield service


class Shown(HTMLParser):
    """A page as a browser reads it: what was made of foreign text, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.links: list[str] = []
        #: Command lines that are there to be copied.
        self.commands: list[str] = []
        self._in_code = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "hostile-x":
            self.foreign.append(tag)
        if tag == "code":
            self._in_code = True
            self.commands.append("")
        for name, value in attrs:
            if name.startswith("on") or "hostile" in name:
                self.foreign.append(f"{tag} {name}")
            if name in ("href", "src", "action", "formaction", "hx-get", "hx-post", "data-url") and value is not None:
                if (value and not value.startswith(("/", "#", "?"))) or value.startswith(("//", "/\\")):
                    self.foreign.append(f"{tag} {name}={value}")
                elif name in ("href", "hx-get"):
                    self.links.append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "code":
            self._in_code = False

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self.commands[-1] += data


class Route(NamedTuple):
    """A page that is shown of many things."""

    path: str
    pattern: re.Pattern[str]


def routes() -> list[Route]:
    paths = [one.path for section in SECTIONS for one in section.routes if one.method == "GET"]
    patterns = [re.sub(r"\\{(\w+):([^}]*)\\}", r"\2", re.escape(path)) for path in paths]
    found = [
        Route(path, re.compile(re.sub(r"\\{[^}]*\\}", "[^/]+", pattern)))
        for path, pattern in zip(paths, patterns, strict=True)
    ]
    # Those without a name in them first.
    return sorted(found, key=lambda one: one.path.count("{"))


@dataclass
class Crawl:
    """What following the console's links found."""

    #: The route of each page, by its address.
    pages: dict[str, str]
    #: Command lines that are shown for them.
    commands: set[str]
    wrong: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crawl(console_service: Opened) -> Crawl:
    async with visiting(console_service) as visitor:
        await visitor.sign_in()
        return await followed(visitor)


async def followed(visitor: Visitor) -> Crawl:
    """Every page that a link leads to, from the sections and the events of attacks on."""
    pages: dict[str, str] = {}
    commands: set[str] = set()
    await until(lambda: all_are_known(visitor.service))
    waiting = [section.path for section in SECTIONS]
    waiting += [
        f"/ui/sinks/{name}/{part}" for name in ("binary", "batch", "phasetwo", "file") for part in ("attempts",)
    ]
    for number in range(1, 1 + len(COPIED)):
        waiting += [f"/ui/events/{number}", f"/ui/events/{number}/timeline"]
    taken, wrong = Counter[str](), []
    known = routes()
    while waiting:
        path = waiting.pop(0)
        route = next((one.path for one in known if one.pattern.fullmatch(urlsplit(path).path)), None)
        if path in pages or route is None or taken[route] >= PAGES:
            continue
        pages[path] = route
        taken[route] += 1
        async with visitor.session.get(path) as response:
            status, media, text = response.status, response.content_type, await response.text()
        if status >= 500:
            wrong.append(f"{path}: {status}")
        if media != "text/html":
            continue
        shown = Shown(text)
        # What a form sends again is exactly what it was.
        visible = re.sub(r"<textarea.*?</textarea>", "", text, flags=re.DOTALL)
        wrong += [f"{path}: {one}" for one in shown.foreign]
        wrong += [
            f"{path}: {one[0]!r} in {visible[one.start() - 60 : one.end() + 20]!r}" for one in UNSAFE.finditer(visible)
        ]
        wrong += [f"{path}: a template was filled in"] * ("54444439" in text)
        commands.update(one for one in shown.commands if one.startswith(("curl ", "idp-adapter ")))
        waiting += [urldefrag(urljoin(path, one)).url for one in shown.links]
    return Crawl(pages, commands, wrong)


async def test_no_page_makes_anything_of_it_but_text(crawl: Crawl) -> None:
    assert not crawl.wrong, "\n".join(crawl.wrong[:30])
    # What only a form or a script leads to, and what needs no event.
    unseen = {one.path for one in routes()} - set(crawl.pages.values())
    assert unseen <= {
        "/ui/quarantine/job", "/ui/sinks/{name}/replay", "/ui/sinks/{name}/ask", "/ui/sinks/{name}/edit",
        "/ui/events/values", "/ui/events/{uid}/{part:revisions}", "/ui/mappings/{provider}/words",
    }, unseen  # fmt: skip


async def all_are_known(service: Opened) -> bool:
    """Whether the sinks have sent all events."""
    _, found = await service.get("/sinks")
    return all(one["lag"] == 0 and one["counts"]["inFlight"] == 0 for one in found["sinks"])


async def test_commands_that_are_copied_do_what_they_say(crawl: Crawl, tmp_path: Path) -> None:
    script = [
        "tell() { printf '%s\\0' RUN \"$@\" >> calls; }",
        'curl() { tell curl "$@"; }',
        'idp-adapter() { tell idp-adapter "$@"; }',
        *sorted(crawl.commands),
    ]
    (tmp_path / "script").write_text("\n".join(script), "utf-8")
    await asyncio.to_thread(subprocess.run, ["bash", "script"], cwd=tmp_path, check=True)
    made = await asyncio.to_thread(lambda: {one.name for one in tmp_path.iterdir()})
    assert made == {"calls", "script"}
    calls = [one.split("\0") for one in (tmp_path / "calls").read_text("utf-8").split("RUN\0")[1:]]
    assert len(calls) == sum(len(re.findall("^(?:curl|idp-adapter) ", one, re.MULTILINE)) for one in crawl.commands)
    options = [word for call in calls for word in itertools.takewhile(lambda word: word != "--", call)]
    assert [one for one in options if one.startswith("--url=")] == []
    assert any("--url=" in word for call in calls for word in call)


async def test_a_browser_shows_it_and_does_nothing(console: Console, visitor: Visitor, crawl: Crawl) -> None:
    page, dialogs = console.page, list[str]()

    async def answer(dialog: Dialog) -> None:
        # The playground asks before what was typed there is left.
        if dialog.type != "beforeunload":
            dialogs.append(dialog.message)
        await dialog.accept()

    page.on("dialog", answer)
    await page.add_init_script("window.attack = () => { window.attacked = true }")
    seen = Counter[str]()
    wrong = []
    for path, route in crawl.pages.items():
        if seen[route] >= SEEN or path.startswith("/ui/api/") or "export" in path:
            continue
        async with visitor.session.get(path) as response:
            if response.content_type != "text/html" or "fragment" in path or response.status != 200:
                continue
        seen[route] += 1
        await console.open(path)
        foreign = await page.evaluate(
            "document.querySelectorAll('hostile-x, [data-hostile], [onerror], [onclick], [onfocus], [onmouseover], "
            'img:not([src^="/ui/"]), iframe, object, embed, a[href^="javascript" i]\').length'
        )
        if foreign or await page.evaluate("window.attacked === true"):
            wrong.append(path)
    assert (wrong, dialogs) == ([], [])
    assert [text for text in console.problems if "Content Security Policy" in text] == []
    assert seen["/ui/events/{uid}"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def events(console_service: Opened) -> list[dict[str, Any]]:
    async with console_service.session.get("/events/export", params={"type": "*"}) as response:
        return [json.loads(line) for line in (await response.read()).split(b"\n") if line]


async def exported(service: Opened, **query: str) -> bytes:
    async with service.session.get("/events/export", params={"type": "*", **query}) as response:
        assert response.status == 200, await response.text()
        assert not any("hostile" in name.lower() for name in response.headers)
        return await response.read()


async def test_attacks_of_every_kind_came_through(events: list[dict[str, Any]]) -> None:
    """Or the tests here would show nothing."""
    providers = Counter(event["source"]["provider"] for event in events)
    text = json.dumps(events)
    whole = [one for one in ATTACKS if re.sub("N.*", "", json.dumps(one)[1:-1]) in text]
    assert len(providers) == 9
    # Half a pair is no text, and is replaced before anything is stored.
    assert set(ATTACKS) - set(whole) <= {one for one in ATTACKS if re.search("[\ud800-\udfff]", one)}


@pytest.mark.parametrize("delimiter", ["comma", "semicolon", "tab"])
async def test_no_cell_is_a_formula(console_service: Opened, events: list[dict[str, Any]], delimiter: str) -> None:
    exports = await exported(console_service, format="csv", delimiter=delimiter)
    sign = {"comma": ",", "semicolon": ";", "tab": "\t"}[delimiter]
    text = exports.decode()
    head, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
    assert len(rows) == len(events)
    assert text.count("\n") == len(rows) + 1
    wrong = [cell for row in rows for cell in row if FORMULA.match(cell) or UNSAFE.search(cell)]
    assert (wrong, {len(row) for row in rows}) == ([], {len(head)})
    # Also to who takes another sign for the delimiter.
    for other in {",", ";", "\t"} - {sign}:
        split = csv.reader(io.StringIO(text, newline=""), delimiter=other)
        assert not [cell for row in split for cell in row if FORMULA.match(cell.lstrip(sign))]


@pytest.mark.parametrize("form", ["unified", "keycloak", "phasetwo", "cloudevents"])
async def test_each_event_is_one_line(console_service: Opened, events: list[dict[str, Any]], form: str) -> None:
    exports = await exported(console_service, format=form)
    assert b"\r" not in exports
    lines = [line for line in exports.decode().split("\n") if line]
    assert [type(json.loads(line)) for line in lines] == [dict] * len(lines)
    assert len(lines) == len(events) or form == "keycloak"


async def test_documents_hold_it_as_text(console_service: Opened, events: list[dict[str, Any]]) -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(await exported(console_service, format="parquet")))
    assert table.num_rows == len(events)
    report = pypdf.PdfReader(io.BytesIO(await exported(console_service, format="pdf")))
    assert not any(page.get("/Annots") or page.get("/AA") for page in report.pages)
    root: Any = report.trailer["/Root"]
    # It opens at its first page, and does nothing more.
    assert not {"/AA", "/Names"} & set(root)
    assert isinstance(root["/OpenAction"], list)
    assert not UNSAFE.search("".join(page.extract_text() for page in report.pages))


async def test_the_live_tail_has_no_field_but_its_own(console_service: Opened, events: list[dict[str, Any]]) -> None:
    _, page = await console_service.get("/events", order="log", type="nobody-knows", limit=1)
    assert page["events"] == []
    fields, found = Counter[str](), 0
    async with console_service.session.get(
        "/events/live", params={"type": "*", "cursor": await beginning(console_service)}
    ) as response:
        assert response.status == 200, await response.text()
        async with asyncio.timeout(60):
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                fields[name] += 1
                if name == "data":
                    assert isinstance(json.loads(value), dict)
                    found += 1
                if found == len(events) - 1:
                    break
    assert set(fields) <= {"", ":", "data", "id", "event", "retry"}
    assert fields["event"] == 0


async def beginning(service: Opened) -> str:
    """The cursor behind the first event of the log."""
    _, page = await service.get("/events", order="log", type="*", limit=1)
    return str(page["next"])


async def test_metrics_can_be_read(console_service: Opened) -> None:
    async with console_service.session.get("/metrics") as response:
        text = await response.text()
    assert list(text_string_to_metric_families(text))
    assert not UNSAFE.search(text)


async def test_sinks_send_no_header_but_their_own(console_service: Opened, receiver: Hook, events: list[Any]) -> None:
    await until(lambda: all_are_known(console_service))
    assert receiver.taken
    for headers, body in receiver.taken:
        assert not [name for name in headers if "hostile" in name.lower()]
        assert all(value.isascii() and value.isprintable() for value in headers.values())
        json.loads(body)
    # One that was not answered in time was sent once more.
    binary = {headers["ce-id"] for headers, _ in receiver.taken if "ce-id" in headers}
    assert len(binary) == len(events)


COMMANDS = [
    ("events", "list", "-n", "1000", "--type", "*"),
    ("events", "list", "-n", "1000", "--type", "*", "--json"),
    ("events", "show", "UID"),
    ("events", "show", "UID", "--raw"),
    ("events", "around", "UID"),
    ("events", "explain", "UID"),
    ("events", "changes", "UID"),
    ("events", "quarantine", "--raw"),
    ("events", "count", "--by", "user"),
    ("events", "count", "--by", "type"),
    ("events", "export", "--type", "*", "--format", "csv"),
    ("timeline", "--ip", "0.0.0.0/0", "--why"),
    ("timeline", "USER"),
    ("people", "list"),
    ("people", "show", "ACCOUNT"),
    ("sinks", "list"),
    ("sinks", "show", "binary"),
    ("sinks", "attempts", "binary"),
    ("sinks", "why", "UID"),
    ("searches", "list"),
    ("keys", "list"),
    ("status",),
    ("mapping", "coverage", "keycloak", "--arrived"),
]  # fmt: skip

#: Runs commands one after the other, as if each were called alone.
_RUN = """
import json, sys
from adapter.__main__ import make_app
for words in json.load(open(sys.argv[1])):
    print("RUN", words[0], flush=True)
    try:
        make_app()(words, standalone_mode=True)
    except SystemExit as end:
        print("END", end.code, flush=True)
"""


def on_terminal(folder: Path, commands: list[list[str]], **environment: str) -> str:
    """What commands show on a terminal, standard error too."""
    (folder / "commands.json").write_text(json.dumps(commands))
    ours, theirs = pty.openpty()
    # A terminal without colours: what is not of text then is foreign.
    given = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "400", **environment}
    words = [sys.executable, "-c", _RUN, str(folder / "commands.json")]
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=given):
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            shown += piece
    os.close(ours)
    return shown.decode("utf-8", "replace").replace("\r\n", "\n")


async def test_no_command_moves_the_cursor(
    console_service: Opened, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    event = max(events, key=lambda one: len(json.dumps(one)))
    user = next(
        one["authDetails"]["username"] for one in events if "<" in one.get("authDetails", {}).get("username", "")
    )
    _, people = await console_service.get("/people")
    named = {"UID": event["uid"], "USER": user, "ACCOUNT": people["people"][0]["id"]}
    commands = [[named.get(word, word) for word in words] for words in COMMANDS]
    environment = {
        "IDP_ADAPTER_URL": console_service.service.url, "IDP_ADAPTER_TOKEN": console_service.service.admin_token,
    }  # fmt: skip
    shown = await asyncio.to_thread(on_terminal, tmp_path, commands, **environment)
    wrong = [f"{one[0]!r} in {shown[one.start() - 100 : one.end() + 30]!r}" for one in UNSAFE.finditer(shown)]
    assert not wrong, "\n".join(wrong[:30])
    ends = re.findall(r"RUN ([^\n]*)\n(?:(?!\nRUN ).)*?\nEND (\d+)", shown, re.DOTALL)
    assert [name for name, end in ends if end == "2"] == []
    assert len(ends) == len(commands), shown[-3000:]


async def test_the_service_logs_one_line_of_its_own_fields_for_each(
    console_service: Opened, service_log: io.StringIO
) -> None:
    # What stands in requests is logged, too.
    for text in ATTACKS:
        given = quote(text.encode("utf-8", "replace"))
        headers = {"User-Agent": re.sub(r"[^\x20-\x7e]", "?", text), "Authorization": "Bearer nobody"}
        for path in (f"/events/{given}", f"/ingest/{given}", f"/events?{given}=1", f"/sinks/{given}"):
            async with console_service.session.get(path, headers=headers) as response:
                assert response.content_type == "application/problem+json", (response.status, path[:200])
    lines = service_log.getvalue().splitlines()
    found: list[Mapping[str, Any]] = [json.loads(line) for line in lines]
    assert found
    assert [line for line in lines if UNSAFE.search(line)] == []
    assert "forged" not in {entry["event"] for entry in found}
    assert not {"n", "X-Hostile"} & {name for entry in found for name in entry}
