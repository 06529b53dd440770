"""Renormalization over HTTP: start the job that reads stored raw events again, see how far it is, cancel it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, create_model

from adapter.api.bodies import read_asked, read_object
from adapter.api.operation import Answer, Body, Operation, json_answer, request_body
from adapter.errors import RequestError
from adapter.filter import Filter
from adapter.hints import Hints
from adapter.mapping.catalogue import Catalogue
from adapter.renormalization.job import QUARANTINED, Job, Question
from adapter.renormalization.renormalizing import Renormalization
from adapter.settings import Permission
from adapter.timestamps import FORMS

_MOMENTS = ("received_from", "received_to")


class Started(Job):
    """A renormalization that has just begun."""

    hints: list[str] = Field(default_factory=list, description="Types asked for that nobody knows")


_TEXTS: Any = str | tuple[str, ...]
_MOMENT: Any = Annotated[int | str | None, Field(description=FORMS)]
#: The question as it is sent: one word may stand for a list of it, and timestamps have all their forms.
Asked = create_model(
    "RenormalizationQuestion",
    __base__=Question,
    __doc__="Which stored entries are to be read again, and how; nothing of it need be said.",
    type=(_TEXTS, Question.model_fields["type"]),
    native_type=(_TEXTS, Question.model_fields["native_type"]),
    received_from=(_MOMENT, None),
    received_to=(_MOMENT, None),
)


class RenormalizationPages:
    """Starts, shows and cancels the one job there may be."""

    def __init__(
        self,
        renormalization: Renormalization,
        providers: Callable[[], list[str]],
        catalogue: Callable[[], Catalogue],
        hints: Hints,
    ) -> None:
        """``providers`` gives those that have a table, ``catalogue`` the present one."""
        self._renormalization = renormalization
        self._providers = providers
        self._catalogue = catalogue
        self._hints = hints

    def operations(self) -> list[Operation]:
        known = ", ".join(Question.model_fields)
        return [
            Operation(
                "POST", "/renormalization", self.start,
                f"Read stored raw events again by the present tables; of a JSON object: {known} "
                "(types and timestamps as in the feed; quarantined among the types is what has no event)",
                {202: Answer("It is under way.", model=Started)}, Permission.RENORMALIZE,
                body=Body(model=Asked, required=False), errors=(409,),
            ),
            Operation(
                "GET", "/renormalization", self.show, "How far a renormalization is, or how the last one ended",
                {200: Answer("The job.", model=Job)}, Permission.READ, errors=(404,),
            ),
            Operation(
                "DELETE", "/renormalization", self.cancel, "Cancel the renormalization; what it appended stays",
                {200: Answer("The job, cancelled.", model=Job)}, Permission.RENORMALIZE, errors=(404,),
            ),
        ]  # fmt: skip

    async def start(self, request: web.Request) -> web.Response:
        question, hints = self._question(await request_body(request))
        job = await self._renormalization.start(question)
        return json_answer(Started(**job.model_dump(), hints=hints).model_dump_json().encode(), status=202)

    async def show(self, request: web.Request) -> web.Response:
        return _told(await self._renormalization.look())

    async def cancel(self, request: web.Request) -> web.Response:
        return _told(await self._renormalization.cancel())

    def _question(self, body: bytes) -> tuple[Question, list[str]]:
        """What is asked, and what in it looks like a slip.

        Raises:
            RequestError: 400, it says what is wrong.
        """
        given = read_object(body)
        for name in ("type", "native_type"):
            if isinstance(given.get(name), str):
                given[name] = [given[name]]
        for name in _MOMENTS:
            if given.get(name) is not None:
                filter = Filter.parse({name: [str(given[name])]}, self._catalogue())
                given[name] = getattr(filter, name)
        question = read_asked(Question, given)
        filter = Filter.parse({"type": [one for one in question.type if one != QUARANTINED]}, self._catalogue())
        if question.provider is not None and question.provider not in self._providers():
            known = self._providers()
            detail = f"provider={question.provider!r} has no table; there are {', '.join(known)}"
            raise RequestError(400, "Bad parameter", detail, parameter="provider", allowed=known)
        return question, self._hints.of(filter.terms, words=[QUARANTINED])


def _told(job: Job | None) -> web.Response:
    if job is None:
        raise RequestError(404, "Not found", "There was no renormalization yet; POST /renormalization starts one.")
    return json_answer(job.model_dump_json().encode())
