"""What every section of the settings has in common: unknown keys are refused, and a secret may stand in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator


class Section(BaseModel):
    """A frozen section of the settings.

    Each field that holds a `SecretStr` may also be given as ``<field>_file``: the path of a file that holds it. The
    line break at the end is not part of the secret; in a field of several secrets, each line that is not empty is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        read = dict(given)
        for name, field in cls.model_fields.items():
            annotation = str(field.annotation)
            key = f"{name}_file"
            if SecretStr.__name__ not in annotation or key not in read:
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
