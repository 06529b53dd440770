"""Where subscriptions of Amazon SNS are confirmed, and which topics there may be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from adapter.settings import Settings
from adapter.sources.sns import address_of


@pytest.mark.parametrize(
    ("topic", "host"),
    [
        ("arn:aws:sns:eu-central-1:111122223333:idp", "sns.eu-central-1.amazonaws.com"),
        ("arn:aws-us-gov:sns:us-gov-west-1:111122223333:idp", "sns.us-gov-west-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:111122223333:idp", "sns.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_address_is_made_of_the_topic(topic: str, host: str) -> None:
    url = address_of(topic, "2336412f37")
    assert (url.scheme, url.host, url.port, url.path) == ("https", host, 443, "/")
    assert dict(url.query) == {"Action": "ConfirmSubscription", "TopicArn": topic, "Token": "2336412f37"}


@pytest.mark.parametrize(
    "topic",
    [
        "idp-events",
        "arn:aws:sqs:eu-central-1:111122223333:idp",
        "arn:aws:sns:eu-central-1.evil.org/:111122223333:idp",
        "arn:aws:sns:eu-central-1:1:idp",
        "arn:aws:sns:eu-central-1:111122223333:idp\n",
    ],
)
def test_what_is_no_topic_is_refused_in_the_settings(topic: str) -> None:
    source = {"name": "okta", "provider": "okta", "sns_topics": [topic]}
    with pytest.raises(ValidationError, match="must be the ARN of a topic"):
        Settings.model_validate({"sources": [source]})
