"""Scrub over HTTP: take a secret out of what is stored, see how far that is, cancel it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from aiohttp import web
from pydantic import ConfigDict, Field, SecretStr

from adapter.api.bodies import read_asked, read_object
from adapter.api.operation import Answer, Body, Operation, caller, json_answer, request_body
from adapter.errors import RequestError
from adapter.known_secrets import KnownSecrets
from adapter.scrub.cleaning import Cleaner
from adapter.scrub.job import Job, Question, State
from adapter.scrub.scrubbing import Scrubbing
from adapter.settings import Permission

#: Characters of a text that is given: of shorter ones too much would be changed that is none of them.
SHORTEST, LONGEST = 8, 10_000
#: Texts of one request.
TEXTS = 100

_Text = Annotated[SecretStr, Field(min_length=SHORTEST, max_length=LONGEST)]


class ScrubQuestion(Question):
    """What is to be taken out of which entries, beside the secrets that the service knows itself; nothing of it need be
    said."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"texts": ["correct-horse-battery-staple"], "redact": True, "dry_run": True}]}
    )

    texts: tuple[_Text, ...] = Field(
        (),
        max_length=TEXTS,
        description=f"Secrets, each of {SHORTEST} to {LONGEST} characters. They are not kept, and never told",
    )


class ScrubPages:
    """Starts, shows and cancels the one job there may be."""

    def __init__(self, scrubbing: Scrubbing, make_cleaner: Callable[[KnownSecrets, bool], Cleaner]) -> None:
        """``make_cleaner``: of the texts that are given, and of whether what tables redact goes, too."""
        self._scrubbing = scrubbing
        self._make_cleaner = make_cleaner

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "POST", "/scrub", self.start,
                "Take secrets out of what is stored; without dry_run: false it only shows which entries hold one",
                {202: Answer("It is under way.", model=Job)}, Permission.SCRUB,
                body=Body(model=ScrubQuestion, required=False), errors=(409,),
            ),
            Operation(
                "GET", "/scrub", self.show, "How far a scrub is, or how the last one ended",
                {200: Answer("The job.", model=Job)}, Permission.SCRUB, errors=(404,),
            ),
            Operation(
                "DELETE", "/scrub", self.cancel, "Cancel the scrub; what it changed stays changed",
                {200: Answer("The job, cancelled.", model=Job)}, Permission.SCRUB, errors=(404,),
            ),
        ]  # fmt: skip

    async def start(self, request: web.Request) -> web.Response:
        asked = read_asked(ScrubQuestion, read_object(await request_body(request)))
        texts = [one.get_secret_value() for one in asked.texts]
        cleaner = self._make_cleaner(KnownSecrets(texts, shortest=SHORTEST), asked.redact)
        question = Question(**asked.model_dump(exclude={"texts"}))
        job = await self._scrubbing.start(question, cleaner, texts=len(texts), by=caller(request))
        return json_answer(job.model_dump_json().encode(), status=202)

    async def show(self, request: web.Request) -> web.Response:
        return _told(await self._scrubbing.look())

    async def cancel(self, request: web.Request) -> web.Response:
        return _told(await self._scrubbing.stop(State.CANCELLED))


def _told(job: Job | None) -> web.Response:
    if job is None:
        raise RequestError(404, "Not found", "There was no scrub yet; POST /scrub starts one.")
    return json_answer(job.model_dump_json().encode())
