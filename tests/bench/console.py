"""Pages of the console, as a browser asks for them."""

from __future__ import annotations

import http.client
import time
from urllib.parse import urlencode, urlsplit

from tests.bench.product import Product
from tests.bench.result import CannotMeasure

_PATIENCE = 120.0


def seen(product: Product, path: str, times: int) -> list[float]:
    """Milliseconds until the whole page was there, each time that the administrator asks for it.

    Raises:
        CannotMeasure: it is not there.
    """
    split = urlsplit(product.url)
    assert split.hostname is not None
    connection = http.client.HTTPConnection(split.hostname, split.port, timeout=_PATIENCE)
    own = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    form = {**own, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/ui/sign-in", urlencode({"token": product.admin_token}), form)
    answer = connection.getresponse()
    answer.read()
    cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
    if answer.status != 303 or not cookie:
        raise CannotMeasure(f"the console answered {answer.status} to a key")
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        connection.request("GET", path, headers={**own, "Cookie": cookie})
        answer = connection.getresponse()
        answer.read()
        found.append((time.perf_counter() - begin) * 1000)
        if answer.status != 200:
            raise CannotMeasure(f"{path}: the console answered {answer.status}")
    connection.close()
    return found
