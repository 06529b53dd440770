"""Amazon SNS tells a source that its address was subscribed to a topic, or is no more.

That a request comes from the source's sender is proven by its credentials before anything here sees it. A subscription
is confirmed if the settings name its topic, and what is asked for that is made of this name and of the request's token
alone: no address that a request names is asked. So the signature of the message would prove nothing more, and is not
looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from yarl import URL

from adapter.errors import NoReply, RequestError
from adapter.mapping.exact import NotJson, parse_json
from adapter.outgoing.client import Client

_log = structlog.get_logger("adapter.sns")

#: The header in which SNS says what it sends.
HEADER = "x-amz-sns-message-type"

_CONFIRM, _ENDED = "SubscriptionConfirmation", "UnsubscribeConfirmation"
#: Bytes of such a message; SNS sends some 2,000.
_LENGTH = 64 * 1024
_TOPIC = re.compile(r"arn:(aws|aws-cn|aws-us-gov):sns:([a-z]{2,3}(?:-[a-z]+)+-\d):\d{12}:[\w-]{1,256}", re.ASCII)
_TOKEN = re.compile(r"[0-9A-Za-z]{1,1024}")
#: Seconds for Amazon's answer; SNS itself waits 15 for ours.
TIMEOUT = 10.0
#: Topics that are remembered, to log what is to be done about each once.
_TOLD = 100


def check_topic(topic: str) -> str:
    """The topic.

    Raises:
        ValueError: it is no name of one.
    """
    if not _TOPIC.fullmatch(topic):
        raise ValueError("must be the ARN of a topic: arn:aws:sns:REGION:ACCOUNT:NAME")
    return topic


class Notice(NamedTuple):
    """What SNS tells that is no event."""

    #: What it is counted as.
    what: str
    topic: str


class Subscriptions:
    """The topics to which one source may be subscribed."""

    def __init__(self, topics: Sequence[str] = (), client: Client | None = None) -> None:
        """``client`` asks Amazon; there is one if there are topics."""
        self._topics = frozenset(topics)
        self._client = client
        self._told: set[tuple[str, str]] = set()

    async def take(self, source: str, kind: str, body: bytes) -> Notice | None:
        """Take what SNS calls ``kind``; ``None``: it is nothing that is taken here.

        Raises:
            RequestError: 503, Amazon cannot be asked now: SNS is to send it again.
        """
        message = _message(kind, body)
        if message is None:
            return None
        topic, token = message
        if kind == _ENDED:
            self._tell_once("sns_subscription_ended", source, topic, "subscribe again if that was not meant")
            return Notice("SNS: a subscription was ended", topic)
        if topic not in self._topics or self._client is None:
            what = "add it to sns_topics of the source if it is meant, and subscribe again"
            self._tell_once("sns_topic_not_named", source, topic, what)
            return Notice("SNS: a topic that sns_topics does not name", topic)
        try:
            status = (await self._client.request("GET", address_of(topic, token), read=False)).status
            public = why = f"Amazon answered {status}"
        except NoReply as error:
            status, why, public = 503, str(error), error.public
        if status == 200:
            _log.info("sns_subscription_confirmed", source=source, topic=topic)
            return Notice("SNS: a subscription was confirmed", topic)
        _log.warning("sns_subscription_not_confirmed", source=source, topic=topic, why=why)
        if status >= 500 or status == 429:
            raise RequestError(503, "Not confirmed", f"The subscription could not be confirmed: {public}.")
        return Notice("SNS: a confirmation that Amazon refused", topic)

    def _tell_once(self, what: str, source: str, topic: str, then: str) -> None:
        if (what, topic) not in self._told and len(self._told) < _TOLD:
            self._told.add((what, topic))
            _log.warning(what, source=source, topic=topic, then=then)


def _message(kind: str, body: bytes) -> tuple[str, str] | None:
    """Topic and token of a message; ``None`` if it is none of this kind."""
    if kind not in (_CONFIRM, _ENDED) or len(body) > _LENGTH:
        return None
    try:
        told = parse_json(body)
    except NotJson:
        return None
    if not isinstance(told, dict) or told.get("Type") != kind:
        return None
    topic, token = told.get("TopicArn"), told.get("Token")
    if not (isinstance(topic, str) and _TOPIC.fullmatch(topic) and isinstance(token, str) and _TOKEN.fullmatch(token)):
        return None
    return topic, token


def address_of(topic: str, token: str) -> URL:
    """Where a subscription is confirmed."""
    partition, region = topic.split(":")[1], topic.split(":")[3]
    host = f"sns.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"
    query = {"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token}
    return URL.build(scheme="https", host=host, path="/", query=query)
