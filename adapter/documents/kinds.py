"""The kinds of documents that there are, and what each needs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of document; its writer is the module of this package with its name."""

    name: str
    media_type: str
    #: What the name of a file of it ends with, without the dot.
    ending: str
    #: The packages that its writer imports, and the extra that brings them.
    needs: tuple[str, ...]
    extra: str

    @property
    def missing(self) -> str | None:
        """What to install before such a document can be made; ``None``: nothing."""
        if all(find_spec(one) is not None for one in self.needs):
            return None
        return f"pip install 'idp-event-adapter[{self.extra}]'"


KINDS = {
    one.name: one
    for one in (
        Kind("parquet", "application/vnd.apache.parquet", "parquet", ("pyarrow",), "parquet"),
        Kind("pdf", "application/pdf", "pdf", ("fpdf", "uharfbuzz"), "pdf"),
    )
}
