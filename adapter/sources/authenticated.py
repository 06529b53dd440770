"""The sources behind their authentication: each asks for the credentials that its present table declares, and one
answers for all names that are no source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from adapter.mapping.table import Table
from adapter.sources.authentication import Authenticator, Decoys, Learn, MayIngest
from adapter.sources.intake import Source
from adapter.sources.public_keys import PublicKeys
from adapter.sources.signed_token import Meant
from adapter.sources.sns import Subscriptions

#: Whether a bearer token, which is no source's own, is one that may post to the source of a name.
MayPost = Callable[[str, str], bool]


class AuthenticatedSource:
    """A source and who may post to it; ``source`` is ``None`` for a name that is none."""

    def __init__(
        self,
        among: AuthenticatedSources,
        source: Source | None,
        tokens: Sequence[str],
        public: PublicKeys | None = None,
        subscriptions: Subscriptions | None = None,
        meant: Meant | None = None,
    ) -> None:
        self._meant = meant
        self.source = source
        #: To what it may be subscribed.
        self.subscriptions = subscriptions or Subscriptions()
        self._among = among
        self._tokens = tokens
        self._public = public
        self._table: Table | None = None
        self._authenticator: Authenticator

    @property
    def authenticator(self) -> Authenticator:
        """The credentials of the present table."""
        if self.source is not None and self.source.table is not self._table:
            self._among.renew()
        return self._authenticator

    def _renew(self, decoys: Decoys, may_ingest: MayIngest, learn: Learn | None) -> None:
        self._table = None if self.source is None else self.source.table
        credentials = () if self._table is None else self._table.mapping.auth
        self._authenticator = Authenticator(
            credentials, self._tokens, may_ingest, decoys, self._public, learn, self._meant
        )


class AuthenticatedSources:
    """The sources to which events are posted, by their names."""

    def __init__(self, may_post: MayPost, learn: Learn | None = None) -> None:
        """``learn`` finds out about a token that ``may_post`` is asked about then, if somebody else made it."""
        self._may_post = may_post
        self._learn = learn
        self._sources: dict[str, AuthenticatedSource] = {}
        self._nobody = AuthenticatedSource(self, None, ())
        self.renew()

    def __getitem__(self, name: str) -> AuthenticatedSource:
        """That of a name; every name has one."""
        return self._sources.get(name, self._nobody)

    def add(
        self,
        source: Source,
        tokens: Sequence[str],
        public: PublicKeys | None = None,
        subscriptions: Subscriptions | None = None,
        meant: Meant | None = None,
    ) -> None:
        """Take what is posted to a source from now on; ``public``: what verifies the tokens that its sender signs with
        a private key; ``subscriptions``: to what its address may be subscribed; ``meant``: who makes its tokens."""
        self._sources[source.name] = AuthenticatedSource(self, source, tokens, public, subscriptions, meant)
        self.renew()

    def remove(self, source: Source) -> None:
        """Take nothing more for it."""
        del self._sources[source.name]
        self.renew()

    def renew(self) -> None:
        """Take up the present tables, all at once: each works on the credentials of the others, too."""
        most_tokens = max((len(authenticated._tokens) for authenticated in self._sources.values()), default=1)
        sources = [authenticated.source for authenticated in self._sources.values() if authenticated.source is not None]
        credentials = [credential for source in sources for credential in source.table.mapping.auth]
        decoys = Decoys(credentials, most_tokens)
        for authenticated in (*self._sources.values(), self._nobody):
            # No source has an empty name; it is asked all the same, so that this takes as long.
            name = "" if authenticated.source is None else authenticated.source.name
            authenticated._renew(decoys, partial(_may_post, self._may_post, name), self._learn)


def _may_post(may_post: MayPost, source: str, token: str) -> bool:
    return may_post(token, source)
