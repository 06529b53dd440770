"""Every setting there is: from ``adapter.toml``, the environment, and the command line, the later before the earlier.

The key ``port`` of the section ``[server]`` is ``IDP_ADAPTER_SERVER__PORT`` in the environment; lists are written as
JSON there. Settings are read in this one place; the parts of the program receive plain values.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, unquote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from adapter.errors import ConfigError
from adapter.log.opening import check_url, file_of
from adapter.outgoing.settings import OutgoingSettings
from adapter.quantities import bytes_of, is_size, seconds_of, share_of
from adapter.scope import RealmOf, Scope, read_realm, read_scope
from adapter.sealing import read_key
from adapter.section import Name, Section, keys, read_http_url, read_keys_url, valid_token
from adapter.sinks.settings import AnySinkSettings
from adapter.sources.settings import AnySourceSettings

PREFIX = "IDP_ADAPTER_"
#: Variables that are no settings: the settings file, what commands ask a service with, and the logs of a migration.
OF_COMMANDS = {"CONFIG", "URL", "TOKEN", "TOKEN_FILE", "CA", "LOGIN", "MIGRATE_FROM", "MIGRATE_TO"}

#: Read when no other file is named, if it exists.
DEFAULT_FILE = Path("adapter.toml")

MIB = 1024 * 1024


class Permission(StrEnum):
    """What the holder of a key may do."""

    #: Read events, a page at a time.
    READ = "read"
    #: Write all events that match into a file.
    EXPORT = "export"
    #: Save searches for all who have the same limits.
    SEARCHES = "searches"
    #: See what the provider sent, unchanged.
    RAW = "raw"
    #: Post native events to every source, or to those that the key is limited to.
    INGEST = "ingest"
    #: Post unified events of one's own, whose source is `published`.
    PUBLISH = "publish"
    #: Read the metrics.
    METRICS = "metrics"
    #: Try mapping tables, and have changed ones taken up.
    MAPPINGS = "mappings"
    #: Save mapping tables, where `[mappings] writable` lets anybody.
    WRITE_MAPPINGS = "write_mappings"
    #: Have stored raw events read again by the present tables.
    RENORMALIZE = "renormalize"
    #: Have what a source's server has stored held against the log, and what is missing fetched.
    RECONCILE = "reconcile"
    #: Have a secret taken out of what is stored.
    SCRUB = "scrub"
    #: See, make and change sinks; see what became of events at them, and have them sent again.
    SINKS = "sinks"
    #: Manage keys.
    KEYS = "keys"
    #: See what one person did, and who is known.
    PEOPLE = "people"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a service that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Token = Annotated[SecretStr, valid_token(8)]


def _plain_address(text: str) -> str:
    url = read_http_url(text, "https://id.example")
    if url.user is not None or url.query_string or url.fragment:
        raise ValueError("must hold no user, query or fragment")
    return text


class Server(Section):
    """Where the service listens, and how large a request may be."""

    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8282, ge=0, le=65535, description="Port to listen on; 0: any that is free")
    behind_tls: bool = Field(
        False,
        description="TLS ends in front of the service: needed to listen on an address that other machines reach",
    )
    public_url: Annotated[str, AfterValidator(_plain_address)] | None = Field(
        None,
        description="Its address for others, with the path under which a proxy shows it: what stands in links. None: "
        "the one by which it is asked",
    )
    body_limit: int = Field(16 * MIB, ge=1024, description="Bytes of a body as it is sent")
    unpacked_limit: int = Field(32 * MIB, ge=1024, description="Bytes of a body once it is unpacked")
    in_flight_limit: int = Field(
        64 * MIB,
        ge=64 * 1024,
        description="Bytes of bodies that all requests together hold in memory. One source or key may hold half of it, "
        "and so may all bodies whose signature is not checked yet",
    )
    events_limit: int = Field(10_000, ge=1, description="Events in a body")
    event_limit: int = Field(
        MIB,
        ge=1024,
        le=16 * MIB,
        description="Bytes of one event; of a larger one 64 KiB of its head, its size and its hash are quarantined",
    )
    header_timeout: float = Field(
        10, gt=0, le=3600, description="Seconds for the header of a request, from the connection or its first byte"
    )
    body_timeout: float = Field(60, gt=0, le=3600, description="Seconds for the body of a request to be complete")
    keepalive_timeout: float = Field(
        75, gt=0, le=86_400, description="Seconds until a connection without a request is closed"
    )
    connections_limit: int = Field(
        10_000,
        ge=1,
        description="Connections at the same time; a new one beyond it takes the place of the one that is unused for "
        "longest. Never more than the process may have descriptors, less 256",
    )
    drain: float = Field(
        10, ge=0, le=600, description="Seconds for requests and sinks to finish when the service stops"
    )

    @model_validator(mode="after")
    def _one_body_fits(self) -> Self:
        least = max(2 * self.body_limit, self.body_limit + self.unpacked_limit)
        if self.in_flight_limit < least:
            raise ValueError(
                f"in_flight_limit {self.in_flight_limit} has no room for one body: it must be {least} or more, twice "
                "body_limit and body_limit + unpacked_limit"
            )
        return self

    @model_validator(mode="after")
    def _refuse_plain_text_abroad(self) -> Self:
        if not self.behind_tls and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached by other machines, and tokens would travel in plain text; "
                "put TLS in front and set behind_tls = true, or listen on 127.0.0.1"
            )
        return self


def _sealing_key(secret: SecretStr) -> SecretStr:
    read_key(secret.get_secret_value())
    return secret


#: The base64 of 32 random bytes.
SealingKey = Annotated[SecretStr, AfterValidator(_sealing_key)]


class Data(Section):
    """Where everything is kept."""

    folder: Path = Field(Path("adapter-data"), description="The data folder; made if it is not there, mode 0700")
    commit_timeout: float = Field(
        10,
        ge=1,
        le=300,
        description="Seconds within which the disk has to take what was posted; then the sender is told to send it "
        "again (503), and so is every other one until the disk answers",
    )
    secret_key: SealingKey | None = Field(
        None,
        description="Key that secrets in the log are encrypted with, as those of sinks that are made while the service "
        "runs: the base64 of 32 random bytes (`openssl rand -base64 32`). Default: made into the data folder; with a "
        "log in PostgreSQL it has to be set, the same for every adapter over it",
    )
    old_secret_key: SealingKey | None = Field(
        None, description="The key before it, while it is changed: what is encrypted with it is encrypted anew"
    )


def _period(text: str) -> str:
    seconds_of(text)
    return text


def _keep(text: str) -> str:
    if is_size(text):
        if bytes_of(text) < SMALLEST_STORE:
            raise ValueError(f"{text!r} is too small: 1GB is the least")
        return text
    try:
        return _period(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a time such as 400d nor a size such as 200GB") from None


def _one_or_several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _mark(text: str) -> str:
    share_of(text, 0)
    return text


#: A time: a number, and h, d, w or y.
Period = Annotated[str, AfterValidator(_period)]
#: Bytes, or a share of the disk.
Mark = Annotated[str, AfterValidator(_mark)]
#: What is removed by size is removed in large pieces.
SMALLEST_STORE = 10**9


class KeepTypes(Section):
    """How long some types of events are kept."""

    type: Annotated[tuple[str, ...], BeforeValidator(_one_or_several)] = Field(
        min_length=1, description="Types, or globs such as access.*_ERROR, as in the feed's filter"
    )
    keep: Period = Field(description="How long these are kept, from arrival: 12h, 90d, 8w, 7y")


class StoreSettings(Section):
    """Where the log lies, how long events are kept, and what happens before the disk is full."""

    url: SecretStr | None = Field(
        None,
        description="sqlite:///PATH, or postgresql://USER:PASSWORD@HOST/DATABASE, over which several services may run; "
        "default: a file of the data folder",
    )
    keep: Annotated[str, AfterValidator(_keep)] | None = Field(
        None,
        description="How long events are kept, from arrival (400d), or how much log and search may take together "
        "(200GB): then the oldest go first. None: everything is kept",
    )
    keep_types: tuple[KeepTypes, ...] = Field(
        (), description="Other times for some types: a list of {type, keep}; the first that fits an event decides"
    )
    keep_raw: Period | None = Field(
        None, description="How long what providers sent is kept; events stay. None: as long as the event"
    )
    keep_identities: Period | None = Field(
        None,
        description="How long a removed event is known when it comes again, from its arrival. None: 30 days longer "
        "than events are kept",
    )
    keep_attempts: Period = Field("30d", description="How long it is remembered what sinks have tried")
    attempts_limit: int = Field(
        10_000, ge=100, le=1_000_000, description="How many tries of each sink are remembered, the latest"
    )
    low_disk: Mark = Field("5GB", description="With less room on the disk it warns; a size, or a share such as 5%")
    full_disk: Mark = Field("500MB", description="With less room on the disk events are refused with 503")

    @field_validator("url")
    @classmethod
    def _url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                check_url(url.get_secret_value())
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return url


class Auth(Section):
    """The administrator, who may do everything."""

    admin_token: Token | None = Field(
        None, description="The administrator's token; generated into the data folder when it is not given"
    )
    read_exports: bool = Field(
        True,
        description="Whether `read` in the keys, and in the `roles` of an issuer, lets export, too, as it did before "
        "there was `export`. false: each may what is said, and no more",
    )


def _realm(text: str) -> str:
    read_realm(text)
    return text


Realm = Annotated[str, AfterValidator(_realm)]


class KeyGrant(Section):
    """What a key lets its holder do."""

    name: Name = Field(description="Its name")
    permissions: frozenset[Permission] = Field(
        frozenset({Permission.READ}), min_length=1, description="What its holder may do"
    )
    realms: tuple[Realm, ...] | None = Field(
        None,
        min_length=1,
        description="Names or ids of the realms whose events it sees: `acme`, or of one source `keycloak-eu/acme`; a "
        "realm with a slash in it with its source, or as `*/REALM`. None: all, and what is of no realm",
    )
    sources: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Names of the sources that it sees and posts to. None: all"
    )
    providers: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Kinds of identity providers whose events it sees. None: all"
    )

    @model_validator(mode="after")
    def _posts_to_whole_sources(self) -> Self:
        if self.realms is not None and Permission.INGEST in self.permissions:
            raise ValueError(
                "ingest cannot be limited to realms, which nobody knows before an event is read; limit this key to "
                "sources, or use two keys"
            )
        return self

    @property
    def scope(self) -> Scope:
        """What it is limited to."""
        return read_scope({"realms": self.realms, "sources": self.sources, "providers": self.providers})


class KeySettings(KeyGrant):
    """A token for somebody who reads."""

    token: Token = Field(description="Its bearer token")


class Mappings(Section):
    """The users' own tables."""

    path: tuple[Path, ...] = Field((), description="Folders, searched before the built-in tables")
    writable: bool = Field(
        False,
        description="Whether tables may be saved over HTTP, with the permission write_mappings: into these folders, "
        "or, with a log in PostgreSQL, into the log, for all services over it",
    )
    look_every: float = Field(
        1,
        ge=0,
        le=3600,
        description="Seconds between two looks for changed files; 0: they are taken up at a reload or on request",
    )
    trial_timeout: float = Field(
        10, gt=0, le=600, description="Seconds that a table which is tried over HTTP may take, before it is broken off"
    )


class Feed(Section):
    """What readers may ask at the same time, and how long it may take."""

    question_timeout: float = Field(
        10, gt=0, le=600, description="Seconds that one question may run, or wait for its turn; then 503"
    )
    questions_limit: int = Field(
        16, ge=1, description="Questions of one key under way, those that wait included; beyond: 429"
    )
    exports_limit: int = Field(8, ge=1, description="Exports under way, of all keys; beyond: 503")
    key_exports_limit: int = Field(2, ge=1, description="Exports of one key under way; beyond: 429")
    live_limit: int = Field(100, ge=1, description="Live tails (`GET /events/live`) of all keys; beyond: 503")
    key_live_limit: int = Field(10, ge=1, description="Live tails of one key; beyond: 429")
    live_behind: int = Field(
        20_000, ge=1, description="Entries that a live tail may be behind the log; beyond, it goes on from the end"
    )
    live_heartbeat: float = Field(
        15, gt=0, le=3600, description="Seconds without events after which a live tail sends a comment"
    )
    page_limit: int = Field(8 * MIB, ge=1024, description="Bytes of events in a page, one event aside")
    reading_timeout: float = Field(
        60, gt=0, le=3600, description="Seconds after which a caller that takes nothing of an answer is cut off"
    )


class Look(StrEnum):
    """What somebody reads here that may be recorded."""

    #: Exports.
    EXPORT = "export"
    #: What providers sent, unchanged.
    RAW = "raw"
    #: What one person did, and the index of people.
    PEOPLE = "people"


class Audit(Section):
    """Who read what here, as events of the log: ``system.AUDIT-EXPORT`` and ``system.AUDIT-READ``."""

    record: tuple[Look, ...] = Field(
        tuple(Look),
        description="What is recorded: `export`, exports; `raw`, reads of what providers sent; `people`, looks at "
        "people",
    )
    again_after: float = Field(
        600, ge=1, le=86_400, description="Seconds for which the same question of one caller is recorded once"
    )


class People(Section):
    """What is told of persons: ``/timeline`` and ``/people``."""

    enabled: bool = Field(
        True,
        description="Whether there are timelines and an index of people; false: they are not answered, and the index "
        "is not kept",
    )
    link_emails: bool = Field(
        True,
        description="Whether accounts of several sources that have the same e-mail address are taken for one person's",
    )


class KeycloakApi(Section):
    """Reading events as a Keycloak gives them: ``/admin/realms/{realm}/events`` and ``…/admin-events``."""

    url: Annotated[str, AfterValidator(_plain_address)] | None = Field(
        None,
        description="Address of a Keycloak, not of a proxy that leads here, whose users may read here what it lets "
        "them read there; it gives their clients tokens, too. None: tokens of the adapter alone",
    )
    realms: dict[str, tuple[Name, ...]] = Field(
        default_factory=dict,
        description="Realm: names of the sources whose events it shows. A realm that is not here shows the events that "
        "name it",
    )


class PhaseTwoApi(Section):
    """Phase Two's API: ``/realms/{realm}/webhooks`` and ``…/events``."""

    created_at: Literal["number", "text"] = Field(
        "number",
        description="How `createdAt` of a webhook is answered: number, epoch milliseconds, as upstream does; text: the "
        "same digits as a text, which the Python client asks for",
    )


class StatementSettings(Section):
    """Signed statements: whether the log has all that a server stored."""

    key: SecretStr | None = Field(
        None,
        description="Private key that signs them, as a JWK of the curve Ed25519; default: made into the data folder",
    )


class SigningSettings(Section):
    """The key that signs tokens to receivers (`phasetwo-bearer`), and where its public half is shown."""

    key_file: Path | None = Field(
        None,
        description="File of a private RSA key, PEM or JWK, of 2048 bits or more; default: one is made when it is "
        "needed first, into the data folder, or into the log where services share one",
    )
    keycloak_url: Annotated[str, AfterValidator(_plain_address)] | None = Field(
        None,
        description="Address of a Keycloak, not of a proxy that leads here: the keys of its realms are shown beside "
        "ours at `/realms/{realm}/protocol/openid-connect/certs`. None: that of `[keycloak] url`",
    )


def _keys_address(text: str) -> str:
    read_keys_url(text)
    return text


#: What roles of Keycloak's own names let their holders do.
ROLES = {
    "view-events": frozenset({Permission.READ}),
    # Neither reconcile nor scrub: the one writes what a server has stored into the log, the other changes for ever what
    # is stored, both for whole sources. Who is to do that is named in `roles`.
    "manage-events": frozenset(
        {
            Permission.READ,
            Permission.EXPORT,
            Permission.SEARCHES,
            Permission.SINKS,
            Permission.RAW,
            Permission.METRICS,
            Permission.MAPPINGS,
            Permission.RENORMALIZE,
        }
    ),
    "publish-events": frozenset({Permission.PUBLISH, Permission.INGEST}),
}


#: Algorithms of signatures by a private key (RFC 7518, 3.1; RFC 8037).
PublicAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip


class OidcIssuer(Section):
    """A Keycloak realm whose access tokens are taken, beside the keys."""

    issuer: Annotated[str, AfterValidator(_plain_address)] = Field(
        description="What stands in its tokens as `iss`, exactly: https://id.example/realms/acme"
    )
    audience: str = Field(
        min_length=1,
        description="The client that stands for the adapter: tokens must name it in `aud`; its roles count",
    )
    jwks: Annotated[str, AfterValidator(_keys_address)] | None = Field(
        None, description="Address of its public keys. None: `/protocol/openid-connect/certs` below the issuer"
    )
    algorithms: tuple[PublicAlgorithm, ...] = Field(
        ("RS256", "PS256", "ES256", "EdDSA"), min_length=1, description="Algorithms of signatures that are taken"
    )
    roles: dict[str, frozenset[Permission]] = Field(
        default_factory=dict,
        description="Role: what its holder may do, in the words of `keys`; none: `view-events` read; `manage-events` "
        "read, export, sinks, raw, metrics, mappings and renormalize; `publish-events` publish and ingest",
    )
    realm_roles: bool = Field(
        False, description="Whether roles of the realm count, too, and not only those of the client `audience`"
    )
    realms: tuple[str, ...] = Field(
        (),
        description="Names or ids of the realms whose events its tokens see, as in `keys`; none: the realm of the "
        "issuer, of any source. `*`: all, and what is about no realm, such as posting, tables and metrics",
    )
    tolerance: float = Field(
        60, ge=0, le=3600, description="Seconds that clocks may differ, for `exp`, `nbf` and `iat`"
    )
    sign_in_client: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="The client by which people sign in to the console (standard flow with PKCE, S256), with "
        "`/ui/oidc/callback` below the service's address as redirect URI; may be `audience` itself. None: nobody does",
    )
    sign_in_secret: SecretStr | None = Field(None, description="Secret of that client, if it is no public one")

    @model_validator(mode="after")
    def _token_goes_safely(self) -> Self:
        if self.sign_in_secret is not None and self.sign_in_client is None:
            raise ValueError("sign_in_secret is the secret of sign_in_client; name that, too")
        if self.sign_in_client is not None:
            try:
                read_keys_url(self.token_at)
            except ValueError as error:
                raise ValueError(f"{self.token_at}, where sign_in_client gets its tokens, {error}") from None
        return self

    @model_validator(mode="after")
    def _keys_come_safely(self) -> Self:
        try:
            read_keys_url(self.keys_at)
        except ValueError as error:
            raise ValueError(f"{self.keys_at}, from where its keys are fetched, {error}; name it: jwks") from None
        return self

    @property
    def realm(self) -> str:
        """Name of its realm."""
        return unquote(self.issuer.rstrip("/").rpartition("/")[2])

    @property
    def permissions(self) -> Mapping[str, frozenset[Permission]]:
        """What the holders of roles may do."""
        return self.roles or ROLES

    @field_validator("realms")
    @classmethod
    def _are_realms(cls, realms: tuple[str, ...]) -> tuple[str, ...]:
        for one in realms:
            if one != "*":
                read_realm(one)
        return realms

    @property
    def scope(self) -> Scope:
        """What its tokens are limited to."""
        if "*" in self.realms:
            return Scope()
        return Scope(frozenset(map(read_realm, self.realms)) or frozenset({RealmOf(None, self.realm)}))

    @property
    def keys_at(self) -> str:
        """Where its public keys are."""
        return self.jwks or f"{self.issuer.rstrip('/')}/protocol/openid-connect/certs"

    @property
    def token_at(self) -> str:
        """Where a client gets its tokens: beside the keys, by the address by which this machine reaches those."""
        return f"{self._endpoints_at}/token"

    @property
    def sign_out_at(self) -> str:
        """Where it is told who signs out."""
        return f"{self._endpoints_at}/logout"

    @property
    def _endpoints_at(self) -> str:
        beside = self.keys_at.removesuffix("/certs")
        if beside != self.keys_at and beside.endswith("/protocol/openid-connect"):
            return beside
        return f"{self.issuer.rstrip('/')}/protocol/openid-connect"

    @property
    def sign_in_at(self) -> str:
        """Where people sign in."""
        return f"{self.issuer.rstrip('/')}/protocol/openid-connect/auth"


class Logging(Section):
    """The service's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged")
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: for people on a terminal, JSON elsewhere"
    )


class Settings(BaseSettings):
    """The whole of the settings; each part has a default that works."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    server: Server = Server()
    data: Data = Data()
    store: StoreSettings = StoreSettings()
    auth: Auth = Auth()
    keys: tuple[KeySettings, ...] = ()
    mappings: Mappings = Mappings()
    #: Empty: one source for each provider, named like it.
    sources: tuple[AnySourceSettings, ...] = ()
    sinks: tuple[AnySinkSettings, ...] = ()
    outgoing: OutgoingSettings = OutgoingSettings()
    feed: Feed = Feed()
    audit: Audit = Audit()
    people: People = People()
    keycloak: KeycloakApi = KeycloakApi()
    phasetwo: PhaseTwoApi = PhaseTwoApi()
    statements: StatementSettings = StatementSettings()
    signing: SigningSettings = SigningSettings()
    oidc: tuple[OidcIssuer, ...] = ()
    log: Logging = Logging()

    @model_validator(mode="after")
    def _tables_have_a_place(self) -> Self:
        url = self.store.url
        in_file = url is None or file_of(url.get_secret_value()) is not None
        if self.mappings.writable and in_file and not self.mappings.path:
            raise ValueError("mappings: writable needs a folder under path, into which tables are saved")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        _unique("keys", [key.name for key in self.keys], "name")
        _unique("sources", [source.name for source in self.sources], "name")
        _unique("sources", [source.key for source in self.sources], "key")
        _unique("oidc", [one.issuer for one in self.oidc], "issuer")
        _unique("sinks", [sink.name for sink in self.sinks], "name")
        return self

    def granted(self, said: frozenset[Permission]) -> frozenset[Permission]:
        """What its own words let a key, or a role that the settings name, do: see ``auth.read_exports``."""
        exports = self.auth.read_exports and Permission.READ in said
        return said | {Permission.EXPORT} if exports else said

    def issuer_of(self, realm: str) -> str | None:
        """What stands as ``iss`` in the tokens of a realm, for receivers that go by the realm's keys; ``None``: nothing
        says it."""
        issuers = [one.issuer for one in self.oidc if one.realm == realm]
        if len(issuers) == 1:
            return issuers[0]
        url = self.signing.keycloak_url or self.keycloak.url
        return None if url is None else f"{url.rstrip('/')}/realms/{quote(realm, safe='')}"

    @model_validator(mode="after")
    def _published_is_no_source(self) -> Self:
        if any("published" in (one.name, one.key) for one in self.sources):
            raise ValueError("sources: published is the source of events that applications publish; take another name")
        return self

    @model_validator(mode="after")
    def _realms_show_known_sources(self) -> Self:
        known = {source.name for source in self.sources}
        for realm, names in self.keycloak.realms.items():
            if known and (unknown := [name for name in names if name not in known]):
                raise ValueError(f"keycloak.realms.{realm}: no source is called {unknown[0]!r}")
        return self


def load_settings(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Settings from ``file`` (without one: ``IDP_ADAPTER_CONFIG``, or ``adapter.toml`` if it is there), overridden by
    the environment, overridden by ``flags`` (nested like the file).

    Raises:
        ConfigError: a file cannot be read, or settings are wrong; names each place and what is allowed there.
    """
    if file is None and (named := os.environ.get(f"{PREFIX}CONFIG")):
        file = Path(named)
    if file is None and DEFAULT_FILE.is_file():
        file = DEFAULT_FILE
    if file is not None and not file.is_file():
        raise ConfigError(f"{file}: there is no such file")

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            if file is None:
                return init_settings, env_settings
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    _refuse_unknown_variables()
    try:
        return Loaded(**(flags or {}))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(problem, file) for problem in error.errors())) from None
    except SettingsError as error:
        raise ConfigError(f"environment: {error}; lists and sections are written as JSON there") from None
    except (ValueError, OSError) as error:
        raise ConfigError(f"{file}: {error}") from None


def _unique(section: str, values: list[str], key: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{section}: two of them have the {key} {value!r}; each needs its own")
        seen.add(value)


def _refuse_unknown_variables() -> None:
    known = {name.upper() for name in Settings.model_fields}
    for variable in os.environ:
        section = variable.upper().removeprefix(PREFIX).partition("__")[0]
        if variable.upper().startswith(PREFIX) and section not in known | OF_COMMANDS:
            allowed = ", ".join(sorted(f"{PREFIX}{name}" for name in known))
            raise ConfigError(f"environment: {variable}: there is no such section; there are {allowed}")


def _explain(problem: Any, file: Path | None) -> str:
    """One line for people: where, what is wrong, what is allowed."""
    location = [part for part in problem["loc"] if isinstance(part, int) or not part.startswith("function-")]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("tuple_type", "list_type"):
        message = "should be a list: [...]"
    if problem["type"] == "extra_forbidden":
        message = f"there is no such key; there are {', '.join(_known_keys(location[:-1]))}"
    return f"{_place(location, file)}: {message}" if location else f"{file or 'settings'}: {message}"


def _place(location: list[Any], file: Path | None) -> str:
    """The variable or the file that a setting came from, and its key."""
    for length in range(len(location), 0, -1):
        variable = PREFIX + "__".join(str(part).upper() for part in location[:length])
        if any(name.upper() == variable for name in os.environ):
            return ": ".join([f"environment: {variable}", *([_dotted(location[length:])] if location[length:] else [])])
    return f"{file or 'settings'}: {_dotted(location)}"


def _dotted(location: list[Any]) -> str:
    """``sources[0].name``, counted from 1 as people count."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _known_keys(location: list[Any]) -> list[str]:
    """The keys that may stand at a place."""
    model: type[BaseModel] = Settings
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model(model.model_fields[part].annotation) or model
    return keys(model)


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arguments = getattr(annotation, "__args__", ())
    return next((found for argument in arguments if (found := _model(argument))), None)
