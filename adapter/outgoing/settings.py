"""What the HTTP client is told: in ``[outgoing]`` for all, and by a sink or a source for itself."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, field_validator, model_validator
from yarl import URL

from adapter.outgoing.own import OwnAddresses
from adapter.outgoing.pem import check_pair, checked_certificates
from adapter.section import Section


def _direct(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        if not re.fullmatch(r"\.?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", text):
            raise ValueError(
                "should be a host such as soc.example, which stands for all below it too, or a network such as "
                "10.0.0.0/8"
            ) from None
    return text


class TlsSettings(Section):
    """Certificates as text, for whoever has no files on the service's machine."""

    secrets_from_files: ClassVar[bool] = False

    ca: Annotated[SecretStr, AfterValidator(checked_certificates)] | None = Field(
        None, description="PEM of the authorities that certificates must come from, in the place of the system's"
    )
    certificate: Annotated[SecretStr, AfterValidator(checked_certificates)] | None = Field(
        None, description="PEM of the certificate, and its chain, that is shown to who asks for one"
    )
    key: SecretStr | None = Field(None, description="PEM of its private key; `key_password` opens it")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; one of them is missing")
        return self


class HttpSettings(Section):
    """How requests are made. What is not set is as ``[outgoing]`` says; so are the fields of a certificate together,
    and those of a proxy."""

    ca_file: Path | None = Field(
        None, description="PEM file of the authorities that certificates must come from, in the place of the system's"
    )
    certificate_file: Path | None = Field(
        None, description="PEM file of the certificate, and its chain, that is shown to who asks for one"
    )
    key_file: Path | None = Field(
        None, description="PEM file of its private key, if that does not stand in certificate_file"
    )
    key_password: SecretStr | None = Field(None, description="What the private key is encrypted with")
    tls: TlsSettings | None = Field(
        None, description="The same as PEM text, in the place of `ca_file`, `certificate_file` and `key_file`"
    )
    proxy: str | None = Field(None, description="Proxy for all requests: http://host:port; an empty text: none")
    proxy_user: str | None = Field(None, description="User at the proxy")
    proxy_password: SecretStr | None = Field(None, description="Password at the proxy")
    no_proxy: tuple[Annotated[str, AfterValidator(_direct)], ...] = Field(
        (), description="Hosts (and all below them) and networks that are asked without the proxy"
    )

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, text: str | None) -> str | None:
        if not text:
            return text
        try:
            url = URL(text)
        except ValueError:
            url = URL()
        if url.scheme != "http" or not url.host or url.path not in ("", "/") or url.query_string or url.fragment:
            raise ValueError("must be http:// with a host and a port, such as http://proxy.example:3128")
        if url.user is not None or url.password is not None:
            raise ValueError("must not hold a user or password; set proxy_user and proxy_password")
        return text

    @model_validator(mode="after")
    def _whole(self) -> Self:
        tls = self.tls or TlsSettings()
        for name, text in (("ca_file", tls.ca), ("certificate_file", tls.certificate)):
            if text is not None and getattr(self, name) is not None:
                raise ValueError(f"{name} and tls.{name.removesuffix('_file')} are both given; one of them is enough")
        if self.certificate_file is None and (self.key_file or (self.key_password and tls.certificate is None)):
            raise ValueError("key_file and key_password belong to a certificate_file, which is missing")
        if tls.certificate is not None and tls.key is not None:
            check_pair(tls.certificate, tls.key, self.key_password)
        if not self.proxy and (self.proxy_user or self.proxy_password or self.no_proxy):
            raise ValueError("proxy_user, proxy_password and no_proxy belong to a proxy, which is missing")
        if (self.proxy_user is None) != (self.proxy_password is None):
            raise ValueError("proxy_user and proxy_password belong together; one of them is missing")
        return self


def plain_host(host: str) -> str:
    """A host as it is compared."""
    return host.rstrip(".").lower()


def _allowed(given: object) -> object:
    """A network, or the name of one host."""
    if not isinstance(given, str):
        return given
    try:
        return ip_network(given)
    except ValueError:
        pass
    try:
        network = ip_network(given, strict=False)
    except ValueError:
        pass
    else:
        raise ValueError(f"names an address in a network; the network is {network}")
    try:
        host = URL.build(scheme="https", host=given).raw_host or ""
    except ValueError:
        host = ""
    host = plain_host(host)
    # No name ends with a number; many programs take one that does for an address.
    is_name = re.fullmatch(r"([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z_]([a-z0-9_-]*[a-z0-9_])?", host)
    if not is_name or len(host) > 253:
        raise ValueError(
            "should be a network such as 10.0.0.0/8, or the name of one host such as soc.example, without a port or *"
        )
    return host


def port_range(text: str) -> tuple[int, int]:
    """The first and the last port of ``443`` or ``8000-8999``.

    Raises:
        ValueError: it is neither.
    """
    first, dash, last = text.partition("-")
    numbers = [int(one) for one in ((first, last) if dash else (first, first)) if one.isascii() and one.isdigit()]
    if len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1] <= 65535:
        raise ValueError("should be a port such as 443, or a range of them such as 8000-8999")
    return numbers[0], numbers[1]


def _ports(given: object) -> object:
    text = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    if isinstance(text, str):
        port_range(text)
    return text


class OutgoingSettings(HttpSettings):
    """How the service makes requests, and where they may go: the section ``[outgoing]``."""

    allow: tuple[Annotated[IPv4Network | IPv6Network | str, BeforeValidator(_allowed)], ...] = Field(
        (),
        description="Networks (CIDR) and hosts of receivers on addresses that are refused by default. A host, by its "
        "name alone, may lie in a private network or on this machine; that opens those addresses to no other name",
    )
    https_only: bool = Field(False, description="Whether plain http:// is refused")
    ports: tuple[Annotated[str, BeforeValidator(_ports)], ...] = Field(
        (),
        description="The ports that may be reached, such as 443 or 8000-8999. None: all but those of well-known other "
        "protocols (mail, SSH, DNS, databases, …), which would take what is sent for their own commands",
    )
    allow_self: bool = Field(
        False, description="Whether requests may go to the address and port on which the service itself listens"
    )
    _own: OwnAddresses | None = PrivateAttr(None)

    @property
    def own(self) -> OwnAddresses | None:
        """Where the service listens itself, if this is for a service."""
        return self._own

    def knowing(self, own: OwnAddresses) -> OutgoingSettings:
        """These settings for a service that listens there."""
        copy = self.model_copy()
        copy._own = own
        return copy

    def overridden(self, own: HttpSettings | None) -> OutgoingSettings:
        """These settings for somebody who has some of his own."""
        if own is None:
            return self
        groups, texts = list[tuple[str, ...]](), {"ca": self.tls, "certificate": self.tls, "key": self.tls}
        if own.ca_file is not None or (own.tls is not None and own.tls.ca is not None):
            groups.append(("ca_file",))
            texts["ca"] = own.tls
        if own.certificate_file is not None or (own.tls is not None and own.tls.certificate is not None):
            groups.append(("certificate_file", "key_file", "key_password"))
            texts["certificate"] = texts["key"] = own.tls
        if own.proxy is not None:
            groups.append(("proxy", "proxy_user", "proxy_password", "no_proxy"))
        update: dict[str, object] = {name: getattr(own, name) for group in groups for name in group}
        tls = TlsSettings.model_construct(**{name: getattr(of, name, None) for name, of in texts.items()})
        return self.model_copy(update={**update, "tls": tls})
