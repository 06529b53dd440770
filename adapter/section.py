"""What every section of the settings has in common: unknown keys are refused, and a secret may stand in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError
from yarl import URL

#: The name of something that is configured.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def valid_token(shortest: int) -> AfterValidator:
    """A validator for a token that can be written in a header, of so many characters at least."""

    def check(secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if not text.isascii() or not text.isprintable() or " " in text or len(text) < shortest:
            raise ValueError(f"a token has {shortest} or more printable ASCII characters and no blanks")
        return secret

    return AfterValidator(check)


class Section(BaseModel):
    """A frozen section of the settings.

    Each field that holds a `SecretStr` may also be given as ``<field>_file``: the path of a file that holds it. The
    line break at the end is not part of the secret; in a field of several secrets, each line that is not empty is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    #: Whether its secrets may stand in files: not those that have a setting of their own for that.
    secrets_from_files: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not cls.secrets_from_files:
            return given
        read = dict(given)
        for name, field in cls.model_fields.items():
            annotation = str(field.annotation)
            key = f"{name}_file"
            if not _is_secret(field) or key not in read:
                continue
            if name in read:
                raise ValueError(f"both {name} and {key} are given; one of them is enough")
            path = Path(str(read.pop(key)))
            try:
                lines = path.read_text("utf-8").split("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{key}: {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
            secrets = [line.strip() for line in lines if line.strip()]
            several = "tuple[" in annotation or "list[" in annotation
            if not secrets or (len(secrets) > 1 and not several):
                raise ValueError(f"{key}: {path} must hold one secret, and holds {len(secrets) or 'none'}")
            read[name] = secrets if several else secrets[0]
        return read


def secrets_of(part: object) -> Iterator[str]:
    """Every secret of the settings, or of a part of them."""
    if isinstance(part, SecretStr):
        text = part.get_secret_value()
        yield text
        if "://" in text and (password := URL(text).password) is not None:
            yield password
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from secrets_of(getattr(part, name))
    elif isinstance(part, Mapping):
        yield from (secret for one in part.values() for secret in secrets_of(one))
    elif isinstance(part, list | tuple):
        yield from (secret for one in part for secret in secrets_of(one))


def read_http_url(text: str, example: str) -> URL:
    """An address of the settings, such as ``example``.

    Raises:
        ValueError: it is none; says what is right.
    """
    try:
        url = URL(text)
    except ValueError:
        raise ValueError(f"is not a URL; one looks like {example}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"must begin with https:// or http:// and name a host, such as {example}")
    return url


def read_keys_url(text: str) -> URL:
    """An address of public keys: what comes from there decides who is let in, so it comes by https, or from this
    machine.

    Raises:
        ValueError: it is none; says what is right.
    """
    url = read_http_url(text, "https://id.example/realms/acme/protocol/openid-connect/certs")
    if url.scheme != "https" and url.host not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("must begin with https://; http:// is for this machine alone (localhost)")
    return url


_Kind = TypeVar("_Kind", bound=Section)


def read_kind(model: type[_Kind], values: Any) -> _Kind:
    """One of several kinds of a section, each with a model of its own.

    Raises:
        ValidationError: a field is wrong; a key that there is not is told with those that there are.
    """
    if isinstance(values, Mapping):
        names = keys(model)
        unknown = [key for key in values if key not in names and key not in model.model_fields]
        if unknown:
            told = {"keys": ", ".join(names)}
            wrong = PydanticCustomError("no_such_key", "there is no such key; there are {keys}", told)
            details = [InitErrorDetails(type=wrong, loc=(str(key),), input=None) for key in unknown]
            raise ValidationError.from_exception_data(model.__name__, details, hide_input=True)
    return model.model_validate(values)


def keys(model: type[BaseModel]) -> list[str]:
    """The keys that a section may have, those for files of secrets included."""
    names = []
    for name, field in model.model_fields.items():
        names.append(field.alias or name)
        if _is_secret(field) and getattr(model, "secrets_from_files", True):
            names.append(f"{name}_file")
    return names


def _is_secret(field: FieldInfo) -> bool:
    """Whether a field holds one secret or a list of them, and so may be given as a file."""
    annotation = str(field.annotation)
    return SecretStr.__name__ in annotation and not annotation.startswith("dict[")
