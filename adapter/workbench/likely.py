"""What native types and values probably mean, by their words: proposals for a person who decides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from adapter.mapping.catalogue import ACCESS, ERROR, UNSPECIFIED, Catalogue
from adapter.mapping.paths import scalar_text

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_LOGIN = r"log ?(?:in|on)|sign ?(?:in|on)|authn?\b|authenticat|accepted|access granted"
_SECOND = r"otp|totp|mfa|2 ?fa|factor|push|webauthn|passkey|authenticator"
_NEW, _GONE = r"enrol|regist|add|creat|activat|set up", r"remov|delet|unenrol|deactivat|revok"

#: What the words of a native type say of its unified type, the first that fits.
_TYPES: tuple[tuple[str, str], ...] = tuple(
    (rf"\b(?:{words})", type)
    for words, type in (
        (r"unlock|unblock", "UNBLOCK_USER"),
        (r"lock ?out|locked|temporar\w* disabled", "USER_DISABLED_BY_TEMPORARY_LOCKOUT"),
        (r"impersonat", "IMPERSONATE"),
        (r"(?:reset|forgot|recover)\w* (?:\w+ )*password|password (?:\w+ )*(?:reset|recover)", "RESET_PASSWORD"),
        (r"(?:chang|updat|set)\w* (?:\w+ )*password|password (?:\w+ )*(?:chang|updat|set)", "UPDATE_PASSWORD"),
        (rf"(?:{_NEW})\w* (?:\w+ )*(?:{_SECOND})|(?:{_SECOND})\w* (?:\w+ )*(?:{_NEW})", "UPDATE_CREDENTIAL"),
        (rf"(?:{_GONE})\w* (?:\w+ )*(?:{_SECOND})|(?:{_SECOND})\w* (?:\w+ )*(?:{_GONE})", "REMOVE_CREDENTIAL"),
        (r"log ?(?:out|off)|sign ?(?:out|off)|disconnected|session (?:closed|ended)", "LOGOUT"),
        (r"refresh\w* (?:\w+ )*token|token (?:\w+ )*refresh", "REFRESH_TOKEN"),
        (r"revok\w* (?:\w+ )*token|token (?:\w+ )*revok", "REVOKE_TOKEN"),
        (r"(?:issu|mint)\w* (?:\w+ )*token|token (?:\w+ )*(?:issu|creat)", "ISSUE_TOKEN"),
        (rf"(?:{_LOGIN})", "LOGIN"),
        (r"password (?:\w+ )*(?:invalid|wrong|incorrect)|(?:invalid|wrong|incorrect) (?:\w+ )*password", "LOGIN"),
        (rf"(?:{_SECOND})", "VALIDATE_OTP"),
        (r"(?:verif|confirm)\w* (?:\w+ )*e ?mail|e ?mail (?:\w+ )*(?:verif|confirm)", "VERIFY_EMAIL"),
        (r"(?:chang|updat)\w* (?:\w+ )*e ?mail|e ?mail (?:\w+ )*(?:chang|updat)", "UPDATE_EMAIL"),
        (r"(?:chang|updat)\w* (?:\w+ )*(?:profile|user|account)|(?:profile|user|account) (?:\w+ )*(?:chang|updat)",
         "UPDATE_PROFILE"),
        (r"(?:remov|delet)\w* (?:\w+ )*(?:user|account)|(?:user|account) (?:\w+ )*(?:remov|delet)", "DELETE_ACCOUNT"),
        (r"sign ?up|regist\w+|(?:creat|add)\w* (?:\w+ )*(?:user|account)|(?:user|account) (?:\w+ )*(?:creat|add)",
         "REGISTER"),
        (r"consent (?:\w+ )*(?:revok|withdraw)|(?:revok|withdraw)\w* (?:\w+ )*consent", "REVOKE_GRANT"),
        (r"consent", "GRANT_CONSENT"),
    )
)  # fmt: skip

#: Words of a failure.
_FAILED = re.compile(
    r"\b(?:fail|error|invalid|incorrect|wrong|bad|den(?:y|ied)|reject|refus|unsuccess|unknown|not (?:ok|found|allowed)|"
    r"expired|locked|disabled|declin|timed? ?out|abort|false|ko|nok|unauthori[sz]ed|forbidden)"
)
#: What they say of its reason, the first that fits.
_REASONS = (
    (r"(?:unknown|no such) (?:\w+ )*(?:user|account)|invalid user\b(?! cred)|nobody|"
     r"(?:user|account) (?:\w+ )*(?:not found|unknown)", "unknown_user"),
    (r"captcha", "captcha_failed"),
    (r"too many|rate|throttl", "rate_limited"),
    (r"locked|lock ?out", "locked"),
    (r"disabled|inactive|suspended|deactivated", "disabled"),
    (r"expired", "code_expired"),
    (r"timed? ?out", "challenge_timeout"),
    (r"declin|reject|refus", "challenge_denied"),
    (rf"(?:{_SECOND})|\bcode", "code_invalid"),
    (r"password|passwd|credential|\bpin\b|secret", "bad_credentials"),
    (r"den(?:y|ied)|forbidden|policy|not allowed|unauthori", "policy_denied"),
)  # fmt: skip
#: Statuses of HTTP from which on something failed.
_FAILED_STATUS = 400
#: A status has so many values at most.
_STATUSES = 12


def likely_row(native: str, catalogue: Catalogue, *, failed: bool = False) -> dict[str, str] | None:
    """The row that a native type probably wants; ``None``: its words say nothing. ``failed``: whether a condition of
    the table finds failures, so that the row need not."""
    known = _by_plain_name(catalogue).get(native.lower().removeprefix(ACCESS))
    told = _told(native)
    type = known.removeprefix(ACCESS) if known is not None else _type(told)
    if type is None:
        return None
    fails = type.endswith(ERROR) or (known is None and not failed and says_failure(native) and not _is_lock(type))
    if not fails:
        return {"type": type}
    return {"type": type if type.endswith(ERROR) else type + ERROR, "reason": likely_reason(native, catalogue)}


def likely_reason(text: str, catalogue: Catalogue) -> str:
    """The reason that a text probably states."""
    known = text if text in catalogue.reasons else catalogue.reason_of(text)
    if known != UNSPECIFIED:
        return known
    told = _told(text)
    return next((reason for words, reason in _REASONS if re.search(words, told)), UNSPECIFIED)


def says_failure(value: Any) -> bool:
    """Whether a value speaks of a failure."""
    if value is False:
        return True
    text = scalar_text(value)
    return text is not None and _FAILED.search(_told(text)) is not None


def failing_values(values: Sequence[Any]) -> list[Any]:
    """Of the values of a status those that say that something failed; none, if it is no status."""
    texts = {scalar_text(one): one for one in values}
    if any(text is None for text in texts) or len(texts) > _STATUSES:
        return []
    if all(text is not None and text.isdigit() and len(text) == 3 for text in texts):
        return sorted((one for text, one in texts.items() if int(text or 0) >= _FAILED_STATUS), key=str)
    found = [one for one in texts.values() if says_failure(one)]
    return found if len(found) < len(texts) or any(one is False for one in found) else []


@lru_cache(maxsize=4)
def _by_plain_name(catalogue: Catalogue) -> dict[str, str]:
    """The types of a catalogue by their names in small letters, without ``access.``."""
    return {name.removeprefix(ACCESS).lower(): name for name in reversed(catalogue.names)}


def _type(told: str) -> str | None:
    return next((type for words, type in _TYPES if re.search(words, told)), None)


def _is_lock(type: str) -> bool:
    return type.startswith("USER_DISABLED") or type == "UNBLOCK_USER"


def _told(text: str) -> str:
    """The words of a text, small and with single blanks."""
    return " ".join(word.lower() for word in _WORD.findall(text))
