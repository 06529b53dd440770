"""Pages made on the service from templates: HTML that works without scripts, and asks nobody but the service.

All that a template shows is escaped, and made harmless before that (`adapter.formats.text.harmless`): what stands in
events and answers is foreign.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web
from markupsafe import Markup

from adapter.formats.text import harmless
from adapter.problem import SECURITY_HEADERS

_FOLDER = Path(__file__).parent / "templates"
_STYLE = (_FOLDER / "page.css").read_text("utf-8")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: What a page may do: be seen, with the style that stands in it, and send forms to where it came from. Its address
#: tells other sites nothing; to the own one it goes along, or browsers would not say from where a form comes.
HEADERS = {
    **SECURITY_HEADERS,
    "Content-Security-Policy": "default-src 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


def moment(milliseconds: int | None) -> Markup:
    """A time as people read it, to the second, in UTC; a dash for none."""
    if milliseconds is None:
        return Markup("–")
    try:
        told = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return Markup("–")
    text = told.strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time datetime="{}">{} UTC</time>').format(told.strftime("%Y-%m-%dT%H:%M:%SZ"), text)


def _shown(value: Any) -> Any:
    if value is None:
        return "–"
    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def make_environment() -> jinja2.Environment:
    """The templates, all whose values are escaped, and made harmless before that."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


_environment = make_environment()
_environment.filters["moment"] = moment
_environment.globals["style"] = Markup(_STYLE)


def page(template: str, *, status: int = 200, **values: Any) -> web.Response:
    """A page of a template, with the values that it shows."""
    text = _environment.get_template(template).render(values)
    return web.Response(status=status, text=text, content_type="text/html", charset="utf-8", headers=HEADERS)
