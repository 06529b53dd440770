"""Growth: what a log of ten million entries costs beside an empty one, in turn.

The long log is made here, by the product's own append, of logins that the product's own intake made once and that get
ids, times and uids of their own. Then both are used as people use them.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import quote

import orjson

from adapter.log.protocol import NewEntry
from adapter.log.sqlite.commit import Committer
from adapter.log.sqlite.files import Files
from adapter.log.sqlite.messages import Appended, Refused
from adapter.log.sqlite.schema import connect_writing
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.table import load_table
from adapter.model import identity_digest, identity_key, source_key, uid_text
from adapter.resources import mappings_path
from tests.bench.events import BEGIN, STEP, logins, write_bodies
from tests.bench.load import post_bodies
from tests.bench.processes import run_apart, tree
from tests.bench.product import Product, open_product
from tests.bench.result import CannotMeasure, Result, Target

ENTRIES = int(os.environ.get("GROWTH_ENTRIES", "10000000"))
#: Entries of the log beside which questions are asked.
SHORT = 100_000
#: Events that are posted in each turn, in bodies of so many, over so many connections; and turns.
EVENTS, SIZE, CONNECTIONS = 50_000, 100, 8
PAIRS = 3
#: Times that each question is asked.
ASKED = 5
#: Entries of one transaction while the long log is made, and different logins that it is made of.
_COMMIT, _LOGINS = 10_000, 20_000
#: Time of the first entry, and between two of them, milliseconds: about as many a second as a large installation has.
_BEGIN, _STEP = 1_740_000_000_000, 4
#: One of so many entries is an hour late.
_LATE = 5
_SOURCE = "keycloak"
#: The processes that write.
_PROCESSES = {"adapter.log.sqlite.writer": "by the log", "adapter.search.filler": "by the search"}
#: Events on the first page of a question: as many as there are of each user in the short log, so that both pages are
#: full.
_PAGE = SHORT // _LOGINS


def measure(folder: Path) -> list[Result]:
    """The rows ``growth``."""
    long, short = folder / "long", folder / "short"
    make(long, ENTRIES)
    make(short, SHORT)
    with open_product(long) as product, open_product(short) as other:
        product.wait_searchable(ENTRIES / 5_000)
        other.wait_searchable()
        turns = [_turn(folder, product, pair) for pair in range(PAIRS)]
        results = _questions(product, other)
        memory = [product.memory().rss / 1e6], [other.memory().rss / 1e6]
    starts = [_seconds_to_start(long) for _ in range(PAIRS)]
    long_turns, empty_turns = [one for one, _ in turns], [one for _, one in turns]
    what = f"bodies of {SIZE} into {ENTRIES:,} entries, floor: into none"
    return [
        Result(
            f"{what}: durable",
            "events/s",
            [one.rate for one in long_turns],
            [one.rate for one in empty_turns],
            Target(0.9, at_least=True),
        ),
        *(
            Result(
                f"{what}: written to the disk {by}",
                "bytes an event",
                [one.written[process] for one in long_turns],
                [one.written[process] for one in empty_turns],
                Target(1.2, at_least=False),
            )
            for process, by in _PROCESSES.items()
        ),
        Result(f"memory with {ENTRIES:,} entries, floor: {SHORT:,}", "MB", *memory),
        Result(f"start with {ENTRIES:,} entries, until it is ready", "s", starts, target=Target(2, at_least=False)),
        *results,
    ]


class _Turn(NamedTuple):
    """What posting came to."""

    #: Events a second until the last 202; bytes that each of `_PROCESSES` wrote, an event.
    rate: float
    written: dict[str, float]


def _turn(folder: Path, long: Product, pair: int) -> tuple[_Turn, _Turn]:
    bodies = folder / "bodies.ndjson"
    # As of a live log, they are later than all that it has.
    write_bodies(bodies, EVENTS, SIZE, seed=1000 + pair, begin=BEGIN + pair * EVENTS * STEP)
    with open_product(folder / f"empty-{pair}") as empty:
        floor = _post(empty, bodies)
    return _post(long, bodies), floor


def _post(product: Product, bodies: Path) -> _Turn:
    before = _written(product.process)
    load = post_bodies(product.ingest_url, product.token, bodies, connections=CONNECTIONS)
    product.wait_searchable()
    after = _written(product.process)
    return _Turn(EVENTS / load.seconds, {one: (after[one] - before[one]) / EVENTS for one in _PROCESSES})


def _written(root: int) -> Counter[str]:
    """Bytes that each of `_PROCESSES` caused to be written."""
    total: Counter[str] = Counter()
    for process in tree(root):
        words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
        for line in Path(f"/proc/{process}/io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                total.update({one: int(line.split()[1]) for one in _PROCESSES if one in words})
    return total


def _questions(long: Product, short: Product) -> list[Result]:
    """The first page of each filter with one field, in both."""
    found = []
    newest = orjson.loads(short.get("/events?limit=1"))["events"][0]
    who = newest["authDetails"]
    wanted = {
        "no filter": "",
        "type": "type=LOGIN",
        "outcome": "outcome=failure",
        "user": f"user={who['userId']}",
        "client": f"client={who['clientId']}",
        "ip": f"ip={who['ipAddress']}",
        "network": "ip=10.0.0.0%2F8",
        "session": f"session={quote(who['sessionId'])}",
        "q": f"q={who['username']}",
        "realm": f"realm={newest['realmId']}",
        "source": f"source={_SOURCE}",
        "id of nobody": "id=nobody",
        "user of nobody": "user=nobody",
        "from": f"from={newest['time'] - 3_600_000}",
    }
    for name, query in wanted.items():
        times: tuple[list[float], list[float]] = [], []
        for product, into in ((long, times[0]), (short, times[1])) * ASKED:
            begin = time.perf_counter()
            product.get(f"/events?limit={_PAGE}&{query}")
            into.append((time.perf_counter() - begin) * 1000)
        found.append(
            Result(
                f"first {_PAGE} with {ENTRIES:,} entries by {name}, floor: {SHORT:,}",
                "ms",
                [median(times[0])],
                [median(times[1])],
                Target(2, at_least=False),
            )
        )
    return found


def _seconds_to_start(home: Path) -> float:
    """The seconds that a start takes until ``/readyz`` says so."""
    begin = time.perf_counter()
    with open_product(home) as product:
        while True:
            with suppress(CannotMeasure):
                product.get("/readyz")
                return time.perf_counter() - begin
            time.sleep(0.02)


def make(home: Path, entries: int) -> None:
    """A data folder with a log of so many entries; started once before, so that all else in it is the product's."""
    with open_product(home) as product:
        log = product.folder / "log.sqlite"
    run_apart(fill, log, entries)


def fill(log: Path, entries: int, made: Iterator[NewEntry] | None = None) -> None:
    """Append so many entries, logins if no others are ``made``, to a log that nobody has open."""
    with closing(connect_writing(log, dictionary=b"", busy_timeout=5)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -65536")
        committer = Committer(log, connection, Files(log))
        made = made_entries(entries) if made is None else made
        for start in range(0, entries, _COMMIT):
            request = committer.begin_large()
            request.add([next(made) for _ in range(min(_COMMIT, entries - start))])
            (answer,) = committer.commit([request]).answers
            if not isinstance(answer, Appended) or any(one.position is None for one in answer.receipts):
                raise CannotMeasure(f"entries were not stored: {answer if isinstance(answer, Refused) else 'known'}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def made_entries(count: int, seed: int = 7, step: int = _STEP) -> Iterator[NewEntry]:
    """So many entries of logins, one in five of them late; others with another ``seed``, at other times. ``step``:
    milliseconds between two of them."""
    chance = random.Random(seed)
    key = source_key(_SOURCE)
    moulds = list(_moulds())
    for number in range(count):
        at = _BEGIN + number * step + seed
        time = at - int(chance.random() * 3_600_000) if number % _LATE == 0 else at
        mould = moulds[number % len(moulds)]
        yield mould(b"%032x" % chance.getrandbits(128), time, at, key)


def _moulds() -> Iterator[Callable[[bytes, int, int, bytes], NewEntry]]:
    """What makes an entry of an id (32 hexadecimal digits), a time, an arrival and the source's key."""
    table = load_table(mappings_path() / _SOURCE / "mapping.yaml", load_catalogue([mappings_path()]))
    for login in logins(_LOGINS):
        raw_id, raw_time = orjson.loads(login)["id"], orjson.loads(login)["time"]
        (record,) = table.split(login)
        result = table.result(record, raw_time)
        event = result.event
        assert event is not None
        event["uid"] = "#" * 36
        event["source"] = {
            "name": _SOURCE,
            "provider": _SOURCE,
            "nativeType": result.native_type,
            "receivedAt": raw_time,
            "mapping": table.name,
        }
        yield _mould(login, orjson.dumps(event), raw_id.encode(), b"%d" % raw_time, event["authDetails"])


def _mould(
    raw: bytes, event: bytes, id: bytes, time: bytes, who: dict[str, str]
) -> Callable[[bytes, int, int, bytes], NewEntry]:
    marks = {id: b"%(id)b", time: b"%(time)d", who["sessionId"].encode(): b"%(session)b", b"#" * 36: b"%(uid)b"}
    for value, mark in marks.items():
        raw, event = raw.replace(value, mark), event.replace(value, mark)
    fields = ["fields", "LOGIN", *(who.get(name) for name in ("clientId", "userId", "ipAddress"))]

    def make(digits: bytes, time: int, at: int, key: bytes) -> NewEntry:
        new = b"%b-%b-4%b-a%b-%b" % (digits[:8], digits[8:12], digits[13:16], digits[17:20], digits[20:])
        strong = identity_digest(key, ["id", new.decode()])
        weak = identity_digest(key, [*fields, str(time)])
        uid = identity_key(time // 1000, strong)
        values = {b"id": new, b"time": time, b"session": digits[:24], b"uid": uid_text(uid).encode()}
        return NewEntry(
            source=_SOURCE,
            received_at=at,
            raw=raw % values,
            media="application/json",
            uid=uid,
            strong=strong,
            weak=weak,
            seconds=time // 1000,
            native_type="LOGIN",
            type="access.LOGIN",
            event=event % values,
            problem=None,
        )

    return make
