"""The URL of the database."""

from __future__ import annotations

import pytest

from adapter.errors import ConfigError
from adapter.log.postgresql.address import read_address
from adapter.log.postgresql.log import open_postgresql_log
from tests.postgresql import PASSWORD


def test_what_may_be_told_is_host_and_database() -> None:
    address = read_address("postgresql://me:s3cret@db.example:5433/events?sslmode=verify-full&schema=other")
    assert (address.name, address.schema) == ("db.example:5433/events", "other")
    assert address.url.startswith("postgresql://me:s3cret@db.example:5433/events?sslmode=verify-full")
    assert "schema" not in address.url
    assert "s3cret" not in repr(address)


def test_of_several_hosts_the_primary_is_asked_for() -> None:
    assert "target_session_attrs=primary" in read_address("postgresql://a,b/events").url
    assert read_address("postgres://a/events?target_session_attrs=any").url.count("target_session_attrs") == 1


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:s3cret@host/db",
        "postgresql://me:s3cret#word@host/db",
        "postgresql://me:s3cret@host/db?schema=No",
        "postgresql://me:s3cret@host/db?schema=a%22;drop",
        "postgresql://me:s3cret@[::1/db",
        "s3cret",
    ],
)
def test_a_wrong_url_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_address(url)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "changed",
    [
        (f":{PASSWORD.replace('#', '%23')}@", ":wr0ng@"),
        ("127.0.0.1:", "127.0.0.1:x"),
        ("/test_", "/none_"),
        ("?", "?sslmode=sometimes&"),
    ],
)
async def test_what_the_operator_has_to_change_is_told_without_the_password(
    database_url: str, changed: tuple[str, str]
) -> None:
    with pytest.raises(ConfigError) as refusal:
        async with open_postgresql_log((database_url + "?connect_timeout=5").replace(*changed)):
            pass
    assert "store's URL" in str(refusal.value)
    assert PASSWORD not in str(refusal.value)
    assert "wr0ng" not in str(refusal.value)
