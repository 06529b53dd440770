"""The whole service: everything opened in the order in which it is needed, and ended in the other one.

What comes in last ends first: listening, then sinks, then search, then the log, then the lock on the data folder. So a
stop finishes the requests that are being answered, settles what sinks have sent, and loses nothing.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web

from adapter.access import ADMIN, Access, Principal
from adapter.api.app import make_app
from adapter.api.around import AroundPages
from adapter.api.arrivals import ArrivalCounts
from adapter.api.attempts import AttemptPages
from adapter.api.auditing import AUDITING, Auditing, open_auditing
from adapter.api.authoring import Authoring
from adapter.api.changes import ChangePages
from adapter.api.comparison import Comparisons
from adapter.api.connections import ConnectionLimits, Runner
from adapter.api.counting import CountPages
from adapter.api.deliveries import DeliveryPages
from adapter.api.examples import ExamplePages
from adapter.api.export import ExportPages
from adapter.api.feed import Feed
from adapter.api.health import HealthPages
from adapter.api.ignored import IgnoredPages
from adapter.api.ingest import challenge_operation, ingest_operation, ingest_shortcuts
from adapter.api.keycloak import KeycloakReads
from adapter.api.keycloak_callers import open_keycloak_callers
from adapter.api.keys import KeyPages
from adapter.api.live import LivePages
from adapter.api.live_tail import open_live_tail
from adapter.api.lookup import Lookup
from adapter.api.mappings import Mappings
from adapter.api.metrics import (
    Metrics,
    read_certificates,
    read_commits,
    read_counts,
    read_disk,
    read_log,
    read_mappings,
    read_pulls,
    read_renormalization,
    read_retention,
    read_sinks,
    read_sources,
)
from adapter.api.native_types import NativeTypePages
from adapter.api.operation import BodyReading
from adapter.api.people import PeoplePages
from adapter.api.phasetwo_events import PublishedEvents
from adapter.api.phasetwo_sends import SendPages
from adapter.api.phasetwo_webhooks import WebhookPages
from adapter.api.public_keys import PublicKeyPages
from adapter.api.quarantine import QuarantinePages
from adapter.api.readings import ReadingPages
from adapter.api.realm_certs import open_realm_certs
from adapter.api.reconciliation import ReconciliationPages
from adapter.api.renormalization import RenormalizationPages
from adapter.api.replay import ReplayPages
from adapter.api.retention import RetentionPages
from adapter.api.saving import Saving
from adapter.api.scrub import ScrubPages
from adapter.api.searches import SearchPages
from adapter.api.sessions import SessionPages
from adapter.api.sink_audit import AuditPages
from adapter.api.sink_comparison import SinkComparisonPages
from adapter.api.sink_links import SinkLinkPages
from adapter.api.sink_skip import SkipPages
from adapter.api.sink_stats import open_stats
from adapter.api.sinks import SinkPages
from adapter.api.slots import Slots
from adapter.api.sources import SourcePages
from adapter.api.status import StatusPages
from adapter.api.timeline import TimelinePages
from adapter.api.values import ValuePages
from adapter.browser import Site
from adapter.console.receiver import ReceiverPages
from adapter.console.sections import sections_of
from adapter.console.serving import Console
from adapter.console.sign_in import SignIn
from adapter.console.tries import Tries
from adapter.counts import IngestCounts
from adapter.delivery.audit import open_audits
from adapter.delivery.loop import reader_name
from adapter.delivery.standing import Decided
from adapter.delivery.standing import read as read_standing
from adapter.delivery.why import Present
from adapter.filter import Filter
from adapter.folder import announced, lock_folder, make_tokens
from adapter.hints import Hints
from adapter.keys.live import open_keys
from adapter.keys.sessions import open_sessions
from adapter.known_secrets import KnownSecrets
from adapter.listening import BACKLOG, Ending, Listening, listen
from adapter.log.opening import file_of, open_store
from adapter.log.protocol import Notes, RetainingStore, Store
from adapter.log.transfer import refuse_unfinished
from adapter.mapping.language import UNBOUND
from adapter.mapping.table import load_tables
from adapter.neighbours import Neighbours, open_neighbours
from adapter.oidc import open_issuers
from adapter.outgoing.own import OwnAddresses
from adapter.ownership import open_ownership
from adapter.people.known import People
from adapter.people.timeline import Timelines
from adapter.prepared import SAVED, Prepared, prepare
from adapter.prepared import log_url as where_log_lies
from adapter.reconciliation.opening import open_reconciliation
from adapter.renormalization.job import NOTE as RENORMALIZATION
from adapter.renormalization.readable import Readable, count_readable
from adapter.renormalization.renormalizing import open_renormalization
from adapter.renormalization.rereading import Rereader
from adapter.replay.replaying import open_replays
from adapter.resources import mappings_path
from adapter.retention.attempts import NAME as ATTEMPTS
from adapter.retention.attempts import open_trimming
from adapter.retention.disk import Disk, open_disk
from adapter.retention.pruning import open_pruning
from adapter.retention.retaining import NAME as RETENTION
from adapter.retention.retaining import Retaining, open_retention
from adapter.scrub.cleaning import Cleaner
from adapter.scrub.scrubbing import open_scrubbing
from adapter.sealing import open_sealing
from adapter.search.saved import SavedSearches
from adapter.search.search import open_search
from adapter.section import secrets_of
from adapter.settings import OidcIssuer, Permission, Settings
from adapter.sign_ins import open_sign_ins
from adapter.signing_keys import SigningKeys
from adapter.sink_management.links import SinkLinks
from adapter.sink_management.live import ReaderNames, open_live_sinks
from adapter.sink_management.managing import SinkManagement
from adapter.source_state.watching import WatchedSource, Watching, open_watching
from adapter.sources.authenticated import AuthenticatedSources
from adapter.sources.authentication import unbound
from adapter.sources.budget import Budget
from adapter.sources.ingest import BodyLimits, challenge_handler, ingest_handler
from adapter.sources.intake import Intake, Source
from adapter.sources.opening import OpenSource, open_sources
from adapter.sources.settings import silence_of
from adapter.tables.in_use import Tables
from adapter.tables.saved import FolderFiles, finish_saving
from adapter.tables.shared import SharedFiles, followed
from adapter.tables.watch import watched
from adapter.tokens import Tokens, make_shared_tokens
from adapter.trials.pool import Trials
from adapter.workbench.dictionary import make_dictionary
from adapter.workbench.unsaved import TYPES

_log = structlog.get_logger("adapter.service")

#: How long requests and receivers get to answer where another service goes on, and how long that one waits for the data
#: folder, seconds. Whoever connects waits meanwhile.
HANDING_OVER, FOLLOWING = 1.0, 10.0


@dataclass(slots=True, frozen=True)
class Service:
    """A running service."""

    url: str
    folder: Path
    #: Whether the log lies elsewhere, where other services may share it.
    is_shared: bool
    admin_token: str
    #: Whether the administrator's token was generated, and may be shown.
    admin_generated: bool
    sources: Sequence[OpenSource]
    #: What another one like it can be opened with.
    prepared: Prepared
    listening: Listening
    #: How it ends.
    ending: Ending
    #: Where browsers find the console, and what makes a link that signs in there once as the administrator.
    console_url: str
    make_link: Callable[[], Awaitable[str]]

    @property
    def tables(self) -> Tables:
        return self.prepared.tables

    def hand_over(self) -> list[socket.socket]:
        """Let another service go on where this one ends, within a moment. Returns where the connections without a
        request will be when it has ended."""
        self.ending.is_handing_over = True
        self.ending.patience = min(self.ending.patience, HANDING_OVER)
        return self.ending.connections


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    port: int | None = None,
    sinks: bool = True,
    new_log: bool = False,
    prepared: Prepared | None = None,
    listening: Listening | None = None,
    connections: Iterable[socket.socket] = (),
) -> AsyncIterator[Service]:
    """The service while the context lasts. ``port`` stands in for the one of the settings (0: any that is free);
    without ``sinks`` nothing is sent out or fetched, and a renormalization that was broken off is not gone on with.
    ``new_log`` begins a new log also where one has been lost.

    Where it takes the place of another one, ``prepared`` is what was made of these settings, ``listening`` and
    ``connections`` are the sockets of that one. The former stay open at the end, and so do its own where it hands over.

    Raises:
        ConfigError: the settings, a table, or the data folder cannot be used; says which and why.
        StoreError: the data cannot be opened.
    """
    data = settings.data
    folder = data.folder
    own_addresses = OwnAddresses()
    settings = settings.model_copy(update={"outgoing": settings.outgoing.knowing(own_addresses)})
    async with AsyncExitStack() as stack:
        stack.enter_context(lock_folder(folder, patience=0.0 if prepared is None else FOLLOWING))
        log_url = where_log_lies(settings)
        log_file, search_file = file_of(log_url), folder / "search.sqlite"
        if (finished := finish_saving(folder)) is not None:
            _log.info("saving_finished", provider=finished)
        timeout = settings.data.commit_timeout
        shared: SharedFiles | None = None
        if log_file is None:
            # Before the tables: some of them lie in it.
            folders = [*settings.mappings.path, mappings_path()]
            opening = open_store(
                log_url, dictionary=lambda: make_dictionary(load_tables(folders).values()), commit_timeout=timeout
            )
            log = await stack.enter_async_context(opening)
            await refuse_unfinished(log)
            shared = SharedFiles(log, folder / SAVED)
            await shared.refresh()
        if prepared is None:
            prepared = prepare(settings, new_log=new_log)
        tables, policy, configured = prepared.tables, prepared.policy, prepared.sources
        known = await prepared.refresh(force=True)  # what another service has saved meanwhile is meant
        await stack.enter_async_context(watched(tables, known, every=settings.mappings.look_every))
        if shared is not None:
            await stack.enter_async_context(followed(shared, partial(_reload, tables)))
        else:
            opening = open_store(log_url, dictionary=lambda: make_dictionary(tables.values()), commit_timeout=timeout)
            log = await stack.enter_async_context(opening)
            await refuse_unfinished(log)
        ending = Ending(settings.server.drain)
        is_admin_set = settings.auth.admin_token is not None
        tokens = partial(_make_tokens, log if log_file is None else None, folder)
        generated = await tokens(admin=not is_admin_set, sources=())
        admin_token = _admin_token(settings, generated)
        known_secrets = KnownSecrets([*secrets_of(settings), admin_token])
        signing_keys = SigningKeys(
            settings.signing.key_file, folder, log if log_file is None else None, known_secrets.add
        )
        await signing_keys.present()  # one that cannot be used is told at once
        issuers = await stack.enter_async_context(open_issuers(_issuers(settings), settings.outgoing))
        providers = {one.name: one.provider for one in configured}
        for problem in _doubtful_keys(settings, providers, tables):
            _log.warning("key_doubtful", problem=problem)
        principals = [(admin_token, Principal(ADMIN, frozenset(Permission))), *_principals(settings)]
        taken = {principal.name for _, principal in principals}
        keys = await stack.enter_async_context(open_keys(log, taken, now=_now, is_shared=log_file is None))
        sessions = await stack.enter_async_context(open_sessions(log, now=_now, is_shared=log_file is None))
        sign_ins = await stack.enter_async_context(open_sign_ins(issuers, sessions, settings.outgoing))
        access = Access(principals, issuers, providers, keys, sessions, sign_ins)
        site = Site(settings.server.public_url)
        # Tells it apart from others that have the log open.
        owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        opening_search = open_search(
            search_file,
            log,
            log_url,
            owner,
            timeout=settings.feed.question_timeout,
            with_people=settings.people.enabled,
        )
        search = await stack.enter_async_context(opening_search)
        hints = Hints(lambda: tables.catalogue, [source.name for source in configured], tables)
        # By a slip events would be removed too early, and be gone.
        doubtful = [
            f"store.keep_types: {hint}"
            for group in policy.groups
            for hint in hints.of(Filter.from_settings({"type": group.types}, tables.catalogue).terms)
        ]
        for problem in doubtful:
            _log.warning("retention_doubtful", problem=problem)
        secret_keys = [
            None if one is None else one.get_secret_value() for one in (data.secret_key, data.old_secret_key)
        ]
        sealing = await open_sealing(log, folder, *secret_keys, is_shared=log_file is None)
        delivering = open_live_sinks(
            settings.sinks, log, search, sealing, settings.outgoing, signing_keys.get, lambda: tables.catalogue,
            known_secrets, hints,
            owner=owner, patience=lambda: ending.patience, is_shared=log_file is None, delivers=sinks,
        )  # fmt: skip
        live = await stack.enter_async_context(delivering)
        managing = SinkManagement(
            log, live, sealing, lambda: tables.catalogue, hints, settings.outgoing, known_secrets, now=_now
        )

        opening_replays = open_replays(log, live.deliveries, lambda: tables.catalogue, owner=owner, go_on=sinks)
        replays = await stack.enter_async_context(opening_replays)
        links = SinkLinks(log, live, now=_now)
        stats = await stack.enter_async_context(open_stats(log, live, live.deliveries, _now))

        # Of a log that lies elsewhere no event is refused for the room on this disk, which has neither log nor search.
        lies_on, full = (folder, "0%") if log_file is None else (log_file.parent, settings.store.full_disk)
        disk = Disk(lies_on, settings.store.low_disk, full)
        await stack.enter_async_context(open_disk(disk, log))
        retaining: Retaining | None = None
        if isinstance(log, RetainingStore):
            readers = ReaderNames(live, reader_name)
            retaining = Retaining(
                log, policy, readers, lambda: tables.catalogue, others_size=search.size, prune=search.prune
            )
            await stack.enter_async_context(open_pruning(log, search.prune))
        if sinks and retaining is not None and retaining.removes:
            retention = open_ownership(log, RETENTION, owner, lambda claim: open_retention(retaining))
            await stack.enter_async_context(retention)
        if sinks:
            trimming = open_ownership(log, ATTEMPTS, owner, lambda claim: open_trimming(log, settings.store))
            await stack.enter_async_context(trimming)

        counts = IngestCounts()
        server = settings.server
        intake = Intake(
            log, counts, events_limit=server.events_limit, event_limit=server.event_limit, secrets=known_secrets
        )
        to_watch = [WatchedSource(one.name, one.provider, one.key, silence_of(one.silence)) for one in configured]
        watching = Watching(log, counts, to_watch, now=_now)
        if sinks:
            # Who only has a look at what is stored would hear nobody.
            await stack.enter_async_context(open_watching(watching))
        present = {one.name: Source(one.name, one.provider, one.key, tables, unwrap=one.unwrap) for one in configured}
        receiving = AuthenticatedSources(access.may_post, access.learn if settings.oidc else None)

        async def make_token(key: str) -> str:
            made = (await tokens(admin=False, sources=[key])).sources[key]
            known_secrets.add(made)
            return made

        opening_sources = open_sources(
            configured, present, receiving, intake, log, settings.outgoing,
            owner=owner, make_token=make_token, now=_now, pulls=sinks,
            pull_counts=counts.pulls,
        )  # fmt: skip
        sources = await stack.enter_async_context(opening_sources)
        # Not to who only has a look at what is stored.
        for one in sources if sinks else ():
            for rule in unbound(tables[one.provider].mapping.auth) if one.tokens else ():
                _log.warning("signed_token_does_not_cover_body", source=one.name, header=rule.header, problem=UNBOUND)
        budget = Budget(server.in_flight_limit)
        limits = BodyLimits(server.body_limit, server.unpacked_limit, server.body_timeout)
        again = open_renormalization(log, present, tables, lambda: tables.catalogue, owner=owner, go_on=sinks)
        renormalization = await stack.enter_async_context(again)
        scrubs = open_scrubbing(
            log, ReaderNames(live, str), search.rebuild, [RENORMALIZATION], counts.ignored.forget_samples, owner=owner
        )
        scrubbing = await stack.enter_async_context(scrubs)
        opening_audits = open_audits(log, lambda: {one.name: one for one in live.settings()}, live.selection)
        audits = await stack.enter_async_context(opening_audits)
        readings = [
            lambda: read_counts(counts),
            lambda: read_pulls(counts.pulls, time.time()),
            lambda: read_sources(watching),
            lambda: read_log(log, search),
            lambda: read_disk(disk),
            *([partial(read_retention, retaining.counts)] if retaining is not None else ()),
            lambda: read_commits(log.commits),
            lambda: read_sinks(live.deliveries),
            lambda: read_certificates(live.all_certificates()),
            lambda: read_mappings(tables),
            lambda: read_renormalization(renormalization),
        ]
        lookup = Lookup(log, search, lambda: tables.catalogue, providers)
        trials, events_limit = Trials(timeout=settings.mappings.trial_timeout), server.events_limit
        questions = Slots("questions", each=settings.feed.questions_limit)
        timelines = Timelines(log, search, lambda: tables.catalogue, link_emails=settings.people.link_emails)
        people = People(log, search, timelines, now=_now)
        has_people = settings.people.enabled
        rereader = Rereader(present, tables)

        def readable(provider: str) -> Awaitable[Readable]:
            its = [name for name, one in providers.items() if one == provider]
            return count_readable(log, rereader, its, _now())

        comparing = open_reconciliation(
            settings, configured, present, log, search, intake, lambda: tables.catalogue, known_secrets,
            owner=owner, now=_now, states=sinks,
        )  # fmt: skip
        reconciliation = await stack.enter_async_context(comparing)
        callers = await stack.enter_async_context(open_keycloak_callers(settings.keycloak, settings.outgoing))
        keycloak = KeycloakReads(
            log, search, lambda: tables.catalogue, callers, settings.keycloak.realms,
            questions_limit=settings.feed.questions_limit, reading_timeout=settings.feed.reading_timeout,
        )  # fmt: skip
        keycloak_url = settings.signing.keycloak_url or settings.keycloak.url
        certs = await stack.enter_async_context(open_realm_certs(keycloak_url, settings.outgoing))
        webhooks = WebhookPages(
            log, live, managing, settings.issuer_of,
            created_as_text=settings.phasetwo.created_at == "text", now=_now, deleted=replays.cancel,
        )  # fmt: skip
        arrivals = ArrivalCounts(log, providers, counts.untranslated)
        mappings = Mappings(
            tables, arrivals, trials, readable, events_limit=events_limit, writable=settings.mappings.writable,
            into=None if shared is None else shared.into,
        )  # fmt: skip
        comparisons = Comparisons(tables, log, present, trials)
        saving = Saving(
            tables, FolderFiles(folder) if shared is None else shared, trials, mappings, comparisons, providers,
            lambda entry: log.append([entry]), writable=settings.mappings.writable,
        )  # fmt: skip
        live_tail = await stack.enter_async_context(open_live_tail(log, settings.feed.live_behind))
        neighbours: Neighbours | None = None

        def public_warnings() -> list[str]:
            return [*_warnings(tables, neighbours), *doubtful, *disk.warnings]

        def warnings() -> list[str]:
            return [*public_warnings(), *live.warnings()]

        auditing = Auditing(
            log.append, settings.audit, known_secrets, is_behind_proxy=settings.server.behind_tls, now=_now
        )
        await stack.enter_async_context(open_auditing(auditing))
        delivered = DeliveryPages(log, lookup, live.settings, live.deliveries, live.selection, partial(_standing, log))
        receive = ingest_handler(intake, receiving, budget, limits, counts, disk.check)
        operations = [
            ingest_operation(receive),
            challenge_operation(challenge_handler(receiving)),
            *CountPages(
                log, search, lambda: tables.catalogue, hints, questions, reading_timeout=settings.feed.reading_timeout
            ).operations(),
            *ValuePages(search, lambda: tables.catalogue, questions).operations(),
            *TimelinePages(
                timelines,
                lambda: tables.catalogue,
                questions,
                enabled=has_people,
                reading_timeout=settings.feed.reading_timeout,
            ).operations(),
            *PeoplePages(
                people,
                lambda: tables.catalogue,
                questions,
                enabled=has_people,
                question_timeout=settings.feed.question_timeout,
                reading_timeout=settings.feed.reading_timeout,
                now=_now,
            ).operations(),
            *SearchPages(SavedSearches(log), lambda: tables.catalogue).operations(),
            *LivePages(live_tail, search, lambda: tables.catalogue, hints, settings.feed).operations(),
            *ExportPages(log, search, lambda: tables.catalogue, hints, lookup, settings.feed, now=_now).operations(),
            *Feed(log, search, lambda: tables.catalogue, hints, lookup, questions, settings.feed).operations(),
            *ChangePages(
                log, search, lambda: tables.catalogue, lookup, questions, reading_timeout=settings.feed.reading_timeout
            ).operations(),
            *AroundPages(
                log, search, lambda: tables.catalogue, lookup, questions, reading_timeout=settings.feed.reading_timeout
            ).operations(),
            *ReadingPages(
                log, lookup, tables, trials, questions, present, reading_timeout=settings.feed.reading_timeout
            ).operations(),
            *QuarantinePages(
                log, providers, hints, lookup, questions, settings.feed, lambda: tables.catalogue
            ).operations(),
            *IgnoredPages(counts.ignored, providers, reading_timeout=settings.feed.reading_timeout).operations(),
            *RenormalizationPages(renormalization, lambda: list(tables), lambda: tables.catalogue, hints).operations(),
            *ScrubPages(
                scrubbing, lambda given, redact: Cleaner([known_secrets, given], present, tables, redact=redact)
            ).operations(),
            *AuditPages(audits).operations(),
            *mappings.operations(),
            *NativeTypePages(tables, arrivals).operations(),
            *saving.operations(),
            *ExamplePages(tables, trials, log, lookup, questions, providers).operations(),
            *Authoring(tables, trials, saving, events_limit=events_limit).operations(),
            *comparisons.operations(),
            *(RetentionPages(retaining).operations() if retaining is not None else ()),
            *ReconciliationPages(
                reconciliation, present, lambda: tables.catalogue, reading_timeout=settings.feed.reading_timeout
            ).operations(),
            *HealthPages(
                log,
                lambda: [
                    *public_warnings(),
                    *live.public_warnings(),
                    *_pull_warnings(counts),
                    *watching.warnings(),
                ],
                lambda: disk.refusal,
            ).operations(),
            *StatusPages(
                log,
                watching,
                counts.pulls,
                live.kinds,
                live.deliveries,
                warnings,
                lambda: disk.refusal,
                store="postgresql" if log_file is None else "sqlite",
                now=_now,
            ).operations(),
            *SourcePages(configured, sources, tables).operations(),
            *SinkPages(
                log, live, managing, now=_now, deleted=replays.cancel, speed=stats.events_per_second
            ).operations(),
            *SinkLinkPages(links, server.public_url).operations(),
            *stats.operations(),
            *SkipPages(log, live.deliveries, live.names, lookup, _now).operations(),
            *ReceiverPages(log, links, live, managing, replays, live.deliveries, now=_now).operations(),
            *AttemptPages(log, live.names, lookup, _now).operations(),
            *delivered.operations(),
            *SinkComparisonPages(
                log, live.settings, live.selection, delivered.present, lambda: tables.catalogue, folder, _now
            ).operations(),
            *ReplayPages(
                log, replays, live.deliveries, live.names, lookup, lambda: tables.catalogue, hints, _now
            ).operations(),
            *KeyPages(keys, settings.keys, settings.granted, now=_now).operations(),
            *SessionPages(access, sessions, site).operations(),
            *Metrics(readings).operations(),
            *keycloak.operations(),
            *webhooks.operations(),
            *SendPages(log, webhooks, live.deliveries, lookup, lambda: tables.catalogue, questions).operations(),
            *PublishedEvents(
                log,
                lambda: tables.catalogue,
                known_secrets,
                check_room=disk.check,
                is_behind_proxy=settings.server.behind_tls,
                now=_now,
            ).operations(),
            *PublicKeyPages(signing_keys, live.settings, certs).operations(),
        ]
        tries = Tries(time.monotonic, is_behind_proxy=server.behind_tls)
        signing_in = SignIn(access, sessions, sign_ins, site, tries)
        sections = sections_of(has_people=has_people)
        console = Console(access, site, signing_in, sections, is_behind_proxy=server.behind_tls)
        reading = BodyReading(budget, server.body_limit, server.body_timeout)
        app = make_app(access, operations, reading, site=site, pages=console.routes())
        app[AUDITING] = auditing
        limits_of_connections = ConnectionLimits(
            server.connections_limit, server.header_timeout, server.keepalive_timeout, settings.feed.reading_timeout
        )
        shortcuts = ingest_shortcuts(receive, present)
        runner = Runner(app, limits_of_connections, ending=ending, shortcuts=shortcuts)
        await stack.enter_async_context(console.opened(runner.connect_inside))
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        if listening is None:
            listening = own = listen(server.host, server.port if port is None else port)
            stack.callback(lambda: None if ending.is_handing_over else own.close())
        own_addresses.add(listening.sockets)
        for listener in listening.copies():
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
        # Before requests get time to finish: no stop waits for a trial.
        stack.push_async_callback(trials.close)
        stack.callback(live_tail.end)
        url = listening.url
        stack.enter_context(announced(folder, url))
        if log_file is None:
            announcing = open_neighbours(
                log, owner, url, lambda: {one: table.version for one, table in tables.items()}, people=has_people
            )
            neighbours = await stack.enter_async_context(announcing)
        await runner.adopt(connections)  # nothing can fail after this
        _log.info("listening", url=url, sources=len(sources), sinks=len(live.names()), head=log.head)
        console_url = f"{(server.public_url or url).rstrip('/')}/ui/"

        async def make_link() -> str:
            parent = access.parent(admin_token)
            assert parent is not None
            _, token = await sessions.make_link(parent, ADMIN)
            return f"{console_url}sign-in/{token}"

        yield Service(
            url, folder, log_file is None, admin_token, not is_admin_set, sources, prepared, listening, ending,
            console_url, make_link,
        )  # fmt: skip
        _log.info("handing_over" if ending.is_handing_over else "stopping", head=log.head)


async def _make_tokens(shared: Notes | None, folder: Path, *, admin: bool, sources: Sequence[str]) -> Tokens:
    """The generated tokens, with those that are missing made. Of services over one log each takes those that any of
    them made."""
    if shared is not None:
        return await make_shared_tokens(shared, admin=admin, sources=sources)
    return make_tokens(folder, admin=admin, sources=sources)


def _admin_token(settings: Settings, generated: Tokens) -> str:
    """The administrator's token: the one that is set, or the one that was made."""
    if settings.auth.admin_token is not None:
        return settings.auth.admin_token.get_secret_value()
    assert generated.admin is not None
    return generated.admin


def _principals(settings: Settings) -> Iterator[tuple[str, Principal]]:
    for key in settings.keys:
        yield key.token.get_secret_value(), Principal(key.name, settings.granted(key.permissions), key.scope)


def _issuers(settings: Settings) -> list[OidcIssuer]:
    """The issuers, with what their own roles grant."""
    return [
        one.model_copy(update={"roles": {role: settings.granted(said) for role, said in one.roles.items()}})
        for one in settings.oidc
    ]


def _doubtful_keys(settings: Settings, sources: Mapping[str, str], tables: Collection[str]) -> Iterator[str]:
    """What of keys and issuers somebody should look at, though it is allowed. ``sources``: of each its provider."""
    said = [(f"keys: {key.name}", [key.permissions], key.scope) for key in settings.keys]
    said += [(f"oidc: {one.issuer}: roles", list(one.roles.values()), one.scope) for one in settings.oidc]
    implied = [name for name, permissions, _ in said if any(settings.granted(one) != one for one in permissions)]
    if implied:
        yield (
            f"{'; '.join(implied)}: read lets export, too, as before there was export; name export where it is meant, "
            "and set [auth] read_exports = false"
        )
    for name, _, scope in said:
        of_sources = {*(scope.sources or ()), *(one.source for one in scope.realms or () if one.source is not None)}
        # It may be one whose events are still there.
        if unknown := sorted(of_sources - sources.keys()):
            yield f"{name}: no source is called {', '.join(unknown)}; there are {', '.join(sources)}"
        if unknown := sorted((scope.providers or frozenset()) - set(tables)):
            yield f"{name}: there is no table for the provider {', '.join(unknown)}"


async def _reload(tables: Tables, changed: Sequence[str]) -> None:
    """Take up tables that another service has saved; whoever saved them has said that other keys are meant."""
    await tables.reload(None if TYPES in changed else changed, force=True)


async def _standing(log: Store, sink: str) -> Present | None:
    """What was decided about a sink, if it is not simply to run."""
    standing = await read_standing(log, sink)
    if standing.state is Decided.RUNNING:
        return None
    return Present(str(standing.state), standing.since, standing.reason)


def _now() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


def _warnings(tables: Tables, neighbours: Neighbours | None) -> list[str]:
    """What somebody should look at although events are taken."""
    refused = [
        f"mappings: {provider}: its files were refused as they are now; GET /mappings/{provider} says why"
        for provider in sorted(tables.refused)
    ]
    return [*refused, *(neighbours.warnings() if neighbours is not None else [])]


def _pull_warnings(counts: IngestCounts) -> list[str]:
    return [f"sources: {source}: {problem}" for (source, _, _), problem in sorted(counts.pulls.problems.items())]
