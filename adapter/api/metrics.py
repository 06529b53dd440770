"""``/metrics``: what an operator watches, in Prometheus' text form. Numbers are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from adapter.api.operation import Answer, Limited, Operation, scope_of_caller, sees_source
from adapter.counts import Commits, Histogram, IngestCounts, PullCounts
from adapter.delivery.health import State
from adapter.delivery.loop import Delivery
from adapter.formats.text import harmless
from adapter.log.protocol import Store
from adapter.ownership import Ownership
from adapter.problem import SECURITY_HEADERS
from adapter.renormalization.job import State as JobState
from adapter.renormalization.renormalizing import Renormalization
from adapter.retention.disk import Disk, Room
from adapter.retention.retaining import RetentionCounts
from adapter.search.search import Search
from adapter.settings import Permission
from adapter.source_state.watching import Watching
from adapter.tables.in_use import Tables
from adapter.workbench.compare import Verdict

#: Gives metrics when asked.
Reading = Callable[[], Iterable[Metric]]


class _Readings(Collector):
    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings = tuple(readings)

    def collect(self) -> Iterator[Metric]:
        for reading in self._readings:
            yield from reading()


class _OfSources(Collector):
    """Of the same, what is of one of some sources: what has no label `source` is of all of them."""

    def __init__(self, readings: Iterable[Reading], is_seen: Callable[[str], bool]) -> None:
        self._all = _Readings(readings)
        self._is_seen = is_seen

    def collect(self) -> Iterator[Metric]:
        for metric in self._all.collect():
            seen = [one for one in metric.samples if "source" in one.labels and self._is_seen(one.labels["source"])]
            if seen:
                metric.samples = seen
                yield metric


class Metrics:
    """Serves what the readings give, and what the process uses."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._readings = tuple(readings)
        self._registry = CollectorRegistry()
        self._registry.register(_Readings(self._readings))
        ProcessCollector(namespace="idp_adapter", registry=self._registry)

    def operations(self) -> list[Operation]:
        media = CONTENT_TYPE_PLAIN_0_0_4.partition(";")[0]
        return [
            Operation(
                "GET",
                "/metrics",
                self.show,
                "Metrics for Prometheus",
                {200: Answer("Metrics in the text form.", (media,))},
                Permission.METRICS,
                limited=Limited.BY_SOURCE,
            )
        ]

    async def show(self, request: web.Request) -> web.Response:
        headers = {**SECURITY_HEADERS, "Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        registry = self._registry
        if scope_of_caller(request).is_limited:
            registry = CollectorRegistry()
            registry.register(_OfSources(self._readings, sees_source(request)))
        return web.Response(body=generate_latest(registry), headers=headers)


def read_counts(counts: IngestCounts) -> Iterator[Metric]:
    """What came in."""
    yield _by_source("events_accepted", "New events stored", counts.accepted)
    yield _by_source("events_duplicate", "Native events that were known already", counts.duplicates)
    ignored = CounterMetricFamily(
        "idp_adapter_events_ignored", "Native events, or lines, that a table leaves out", labels=["source", "what"]
    )
    for (source, name), count in counts.ignored.by_source_and_name().items():
        ignored.add_metric([source, harmless(name)], count)
    yield ignored
    refused = CounterMetricFamily(
        "idp_adapter_requests_refused", "Posts of native events that were refused", labels=["source", "status"]
    )
    for (source, status), count in counts.refused.items():
        refused.add_metric([source, str(status)], count)
    yield refused
    quarantined = CounterMetricFamily(
        "idp_adapter_events_quarantined", "Entries without an event", labels=["source", "native_type"]
    )
    for (source, name), count in counts.quarantined.by_source_and_name().items():
        quarantined.add_metric([source, harmless(name)], count)
    yield quarantined
    unanswered = CounterMetricFamily(
        "idp_adapter_outcomes_unknown", "Events without the outcome that their type has", labels=["source", "type"]
    )
    for (source, name), count in counts.unanswered.by_source_and_name().items():
        unanswered.add_metric([source, harmless(name)], count)
    yield unanswered
    untranslated = CounterMetricFamily(
        "idp_adapter_values_untranslated",
        "Values that a table has no word for: an event got a default, or no reason",
        labels=["source", "path", "value"],
    )
    for (source, path, value), count in counts.untranslated.counted().items():
        untranslated.add_metric([source, path, harmless(value)], count)
    yield untranslated


def read_pulls(counts: PullCounts, now: float) -> Iterator[Metric]:
    """How it stands with sources that fetch their events here. ``now``: epoch seconds."""
    labels = ["source", "realm", "kind"]
    last = GaugeMetricFamily(
        "idp_adapter_pull_last_timestamp_seconds", "When it was read last, epoch seconds", labels=labels
    )
    lag = GaugeMetricFamily(
        "idp_adapter_pull_lag_seconds", "Age of the time up to which all its events are in the log", labels=labels
    )
    for (source, realm, kind), (at, until) in counts.last.items():
        last.add_metric([source, harmless(realm), kind], at)
        lag.add_metric([source, harmless(realm), kind], max(0.0, now - until))
    errors = CounterMetricFamily(
        "idp_adapter_pull_errors",
        "Polls that were refused, or not answered (without a realm)",
        labels=labels,
    )
    gaps = CounterMetricFamily(
        "idp_adapter_pull_gaps", "How often events were removed on the server before they were read", labels=labels
    )
    for family, counted in ((errors, counts.errors), (gaps, counts.gaps)):
        for (source, realm, kind), count in counted.items():
            family.add_metric([source, harmless(realm), kind], count)
    yield from (last, lag, errors, gaps)


def read_sources(watching: Watching) -> Iterator[Metric]:
    """When each source was heard last, and which of them is silent or refused."""
    last = GaugeMetricFamily(
        "idp_adapter_source_last_timestamp_seconds", "When something came of it last, epoch seconds", labels=["source"]
    )
    silent = GaugeMetricFamily("idp_adapter_source_silent", "1 if it is silent", labels=["source"])
    refused = GaugeMetricFamily("idp_adapter_source_refused", "1 if its requests are refused", labels=["source"])
    for source, condition in watching.conditions().items():
        if condition.heard_at is not None:
            last.add_metric([source], condition.heard_at / 1000)
        silent.add_metric([source], condition.silent)
        refused.add_metric([source], condition.refused)
    yield from (last, silent, refused)


def read_log(log: Store, search: Search) -> Iterator[Metric]:
    """How much is kept, and how far behind the search is."""
    yield GaugeMetricFamily("idp_adapter_log_position", "Position of the last entry in the log", value=log.head)
    yield GaugeMetricFamily(
        "idp_adapter_log_damaged", "1 if the log's files are damaged: nothing is stored", value=log.damaged is not None
    )
    yield GaugeMetricFamily(
        "idp_adapter_search_lag", "Entries that the search does not show yet", value=max(0, log.head - search.position)
    )


def read_retention(counts: RetentionCounts) -> Iterator[Metric]:
    """What was removed, and what is left."""
    yield CounterMetricFamily(
        "idp_adapter_retention_removed", "Entries that were removed from the log", value=counts.entries
    )
    yield CounterMetricFamily(
        "idp_adapter_retention_raw_removed", "Entries whose native bytes alone were removed", value=counts.raw
    )
    if counts.usage is not None:
        yield GaugeMetricFamily(
            "idp_adapter_log_first_position", "Position of the first entry that is left", value=counts.usage.first
        )
        yield GaugeMetricFamily("idp_adapter_log_entries", "Entries in the log", value=counts.usage.entries)
        yield GaugeMetricFamily("idp_adapter_log_bytes", "Bytes that the log takes", value=counts.usage.size)
        yield GaugeMetricFamily(
            "idp_adapter_log_free_bytes",
            "Bytes of the log's files that are free for new entries",
            value=counts.usage.free,
        )


def read_disk(disk: Disk) -> Iterator[Metric]:
    """How much room is left."""
    yield GaugeMetricFamily("idp_adapter_disk_free_bytes", "Bytes that are left on the disk", value=disk.free)
    room = GaugeMetricFamily("idp_adapter_disk_room", "1 for how much room there is", labels=["room"])
    for one in Room:
        room.add_metric([one], one is disk.room)
    yield room


def read_commits(commits: Commits) -> Iterator[Metric]:
    """How the log's commits went."""
    yield _histogram("commit_entries", "Entries that one commit of the log stored", commits.entries)
    yield _histogram("commit_seconds", "Seconds that one commit of the log took, sync included", commits.seconds)


def read_sinks(deliveries: Mapping[str, Ownership[Delivery]]) -> Iterator[Metric]:
    """How it stands with each sink; of those to which another service delivers, that alone."""
    owned = GaugeMetricFamily("idp_adapter_sink_owned", "1 if this service delivers to it", labels=["sink"])
    matched = CounterMetricFamily("idp_adapter_sink_matched", "Events that the filter took", labels=["sink"])
    delivered = CounterMetricFamily("idp_adapter_sink_delivered", "Events that the receiver has", labels=["sink"])
    now = {
        name: GaugeMetricFamily(f"idp_adapter_sink_{name}", meaning, labels=["sink"])
        for name, meaning in (
            ("in_flight", "Events sent and not answered yet, or to be sent again once the receiver takes something"),
            ("held", "Events that failed and wait for their next try"),
            ("dead", "Events that the sink gave up on"),
            ("skipped", "Events that were skipped: removed from the log before the receiver had them"),
            ("difference", "By how much its counters do not add up; 0, unless something is wrong"),
            ("lag", "Entries between the sink's cursor and the end of the log"),
        )
    }
    state = GaugeMetricFamily("idp_adapter_sink_state", "1 for what the sink is doing", labels=["sink", "state"])
    info = GaugeMetricFamily(
        "idp_adapter_sink_info",
        "1; what the sink is, and how safe a delivered event is",
        labels=["sink", "kind", "promise"],
    )
    for sink, ownership in deliveries.items():
        delivery = ownership.present
        owned.add_metric([sink], delivery is not None)
        if delivery is None:
            continue
        shot = delivery.snapshot()
        info.add_metric([shot.name, shot.kind, shot.promise], 1)
        matched.add_metric([shot.name], shot.counts.matched)
        delivered.add_metric([shot.name], shot.counts.delivered)
        for name in ("in_flight", "held", "dead", "skipped", "difference"):
            now[name].add_metric([shot.name], getattr(shot.counts, name))
        now["lag"].add_metric([shot.name], shot.lag)
        for one in State:
            state.add_metric([shot.name, one], one == shot.state)
    yield from (owned, matched, delivered, *now.values(), state, info)


def read_certificates(certificates: Iterable[tuple[str, str, int]]) -> Iterator[Metric]:
    """When the certificates of sinks end; of each the sink, what it is for, and epoch milliseconds."""
    ends = GaugeMetricFamily(
        "idp_adapter_sink_certificate_ends_seconds",
        "When a certificate of a sink ends, epoch seconds",
        labels=["sink", "for"],
    )
    for sink, what, until in certificates:
        ends.add_metric([sink, what], until / 1000)
    yield ends


def read_mappings(tables: Tables) -> Iterator[Metric]:
    """Which tables are in use, and whose files were refused."""
    info = GaugeMetricFamily("idp_adapter_mapping_info", "1 for the table in use", labels=["provider", "version"])
    for provider, table in tables.items():
        info.add_metric([provider, table.version], 1)
    failed = GaugeMetricFamily(
        "idp_adapter_mapping_reload_failed",
        "1 if the provider's files were refused as they are now",
        labels=["provider"],
    )
    for provider in sorted({*tables, *tables.refused}):
        failed.add_metric([provider], provider in tables.refused)
    yield from (info, failed)


def read_renormalization(renormalization: Renormalization) -> Iterator[Metric]:
    """What reading stored raw events again came to, and how much is left of it."""
    entries = CounterMetricFamily("idp_adapter_renormalized", "Stored entries that were read again", labels=["verdict"])
    for verdict in Verdict:
        entries.add_metric([verdict], renormalization.counts[verdict])
    job = renormalization.job
    running = job is not None and job.state is JobState.RUNNING
    left = 0 if job is None or not running else job.end - job.position
    yield entries
    yield GaugeMetricFamily("idp_adapter_renormalization_running", "1 while one is under way", value=running)
    yield GaugeMetricFamily("idp_adapter_renormalization_lag", "Entries that it has not come to yet", value=left)


def _histogram(name: str, meaning: str, values: Histogram) -> Metric:
    buckets = [("+Inf" if bound == inf else str(bound), count) for bound, count in values.cumulative()]
    return HistogramMetricFamily(f"idp_adapter_{name}", meaning, buckets=buckets, sum_value=values.total)


def _by_source(name: str, meaning: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"idp_adapter_{name}", meaning, labels=["source"])
    for source, count in counts.items():
        family.add_metric([source], count)
    return family
