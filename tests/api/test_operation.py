from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from adapter.access import Access, Principal
from adapter.api.app import make_app
from adapter.api.operation import Answer, BodyReading, Operation, Parameter, json_answer
from adapter.errors import ConfigError, RequestError, StoreDamaged, StoreUnanswered, StoreUnavailable
from adapter.settings import Permission
from adapter.sources.budget import Budget

Client = TestClient[web.Request, web.Application]
Opener = Callable[[web.Application], Awaitable[Client]]

READER = {"Authorization": "Bearer reader-token"}


async def _raise(request: web.Request) -> web.Response:
    match request.match_info["error"]:
        case "request":
            raise RequestError(409, "Conflict", "two of them", headers={"X-Why": "test"}, allowed=["one"])
        case "store":
            raise StoreUnavailable("disk full at /secret/place")
        case "unanswered":
            raise StoreUnanswered("did not answer")
        case "damaged":
            raise StoreDamaged("log.sqlite: damaged: page 3")
        case "aiohttp":
            raise web.HTTPRequestEntityTooLarge(max_size=10, actual_size=20)
        case _:
            raise KeyError("inner secret")


async def _show(request: web.Request) -> web.Response:
    return json_answer(b'{"shown":true}')


OPERATIONS = [
    Operation(
        "GET",
        "/open/{error}",
        _raise,
        "Fails",
        {200: Answer("Never.")},
        parameters=[Parameter("error", "How")],
        public=True,
    ),
    Operation(
        "GET",
        "/closed",
        _show,
        "Shows",
        {200: Answer("It.")},
        Permission.READ,
        [Parameter("one", "Once"), Parameter("many", "Often", repeatable=True)],
    ),
    Operation("GET", "/raw", _show, "Shows", {200: Answer("It.")}, Permission.RAW),
]


@pytest.fixture
async def client(aiohttp_client: Opener) -> Client:
    access = Access([("reader-token", Principal("reader", frozenset({Permission.READ})))])
    return await aiohttp_client(make_app(access, OPERATIONS, BodyReading(Budget(10_000), 1000, 60)))


async def problem(client: Client, method: str, path: str, **request: Any) -> dict[str, Any]:
    async with client.request(method, path, **request) as response:
        assert response.content_type == "application/problem+json"
        document: dict[str, Any] = await response.json()
        assert document["status"] == response.status
        assert document["title"]
        assert document["detail"]
        return document | {"headers": response.headers}


async def test_a_refusal_becomes_a_problem_document_with_its_headers(client: Client) -> None:
    found = await problem(client, "GET", "/open/request")
    assert (found["status"], found["title"], found["detail"]) == (409, "Conflict", "two of them")
    assert found["allowed"] == ["one"]
    assert found["headers"]["X-Why"] == "test"


async def test_a_store_that_cannot_write_is_a_503_with_a_time_to_try_again(client: Client) -> None:
    found = await problem(client, "GET", "/open/store")
    assert found["status"] == 503
    assert found["headers"]["Retry-After"] == "5"
    assert "secret" not in found["detail"]
    assert "nothing of this request was stored" in found["detail"]


@pytest.mark.parametrize("error", ["unanswered", "damaged"])
async def test_a_store_that_did_not_answer_is_a_503_that_claims_nothing(client: Client, error: str) -> None:
    found = await problem(client, "GET", f"/open/{error}")
    assert found["status"] == 503
    assert found["headers"]["Retry-After"] == "5"
    assert "not known whether this request was stored; send it again" in found["detail"]


async def test_what_aiohttp_refuses_is_a_problem_document_too(client: Client) -> None:
    assert (await problem(client, "GET", "/open/aiohttp"))["status"] == 413


async def test_a_bug_is_a_500_that_tells_nothing_of_the_inside(client: Client) -> None:
    found = await problem(client, "GET", "/open/bug")
    assert found["status"] == 500
    assert "inner" not in str(found)


async def test_an_unknown_path_is_a_problem_document(client: Client) -> None:
    assert (await problem(client, "GET", "/nowhere/at/all"))["status"] == 404


async def test_a_wrong_method_is_answered_with_the_right_ones(client: Client) -> None:
    found = await problem(client, "DELETE", "/closed")
    assert found["status"] == 405
    assert found["allowed"] == ["GET", "HEAD"]
    assert found["headers"]["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic cmVhZGVyLXRva2Vu", "Bearer réader"]
)
async def test_without_a_known_token_nothing_is_shown(client: Client, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    found = await problem(client, "GET", "/closed", headers=headers)
    assert found["status"] == 401
    assert found["headers"]["WWW-Authenticate"].startswith("Bearer ")


async def test_a_token_without_the_permission_is_told_which_one_it_lacks(client: Client) -> None:
    found = await problem(client, "GET", "/raw", headers=READER)
    assert found["status"] == 403
    assert found["permission"] == "raw"


async def test_the_token_is_checked_before_anything_is_said_about_parameters(client: Client) -> None:
    assert (await problem(client, "GET", "/closed?nonsense=1"))["status"] == 401


async def test_an_unknown_parameter_is_named_with_the_known_ones(client: Client) -> None:
    found = await problem(client, "GET", "/closed?thre=1", headers=READER)
    assert found["status"] == 400
    assert found["parameter"] == "thre"
    assert found["allowed"] == ["many", "one"]


async def test_a_single_parameter_given_twice_is_refused(client: Client) -> None:
    assert (await problem(client, "GET", "/closed?one=1&one=2", headers=READER))["parameter"] == "one"


async def test_a_repeatable_parameter_may_be_repeated(client: Client) -> None:
    async with client.get("/closed?many=1&many=2&one=1", headers=READER) as response:
        assert response.status == 200


async def test_every_answer_keeps_browsers_from_guessing_and_keeping(client: Client) -> None:
    for path in ("/closed", "/nowhere", "/openapi.json"):
        async with client.get(path, headers=READER) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]


async def test_a_head_request_is_answered_without_a_body(client: Client) -> None:
    async with client.head("/closed", headers=READER) as response:
        assert response.status == 200
        assert await response.read() == b""


async def test_the_description_is_made_from_the_declarations(client: Client) -> None:
    async with client.get("/openapi.json", headers=READER) as response:
        document = await response.json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {"/open/{error}", "/closed", "/raw", "/openapi.json"}
    closed = document["paths"]["/closed"]["get"]
    assert closed["security"] == [{"token": []}]
    assert [one["name"] for one in closed["parameters"]] == ["one", "many"]
    assert closed["parameters"][1]["schema"] == {"type": "array", "items": {"type": "string", "examples": ["text"]}}
    [error] = document["paths"]["/open/{error}"]["get"]["parameters"]
    assert (error["in"], error["required"]) == ("path", True)
    assert "Problem" in document["components"]["schemas"]


def test_two_holders_of_one_token_are_refused() -> None:
    principals = [("one-token", Principal(name, frozenset({Permission.READ}))) for name in ("first", "second")]
    with pytest.raises(ConfigError, match="second has the same token as first"):
        Access(principals)
