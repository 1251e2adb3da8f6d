"""The id that the gateway gives to each request, for every log line written on its behalf."""

import contextvars
import re
import uuid

_current = contextvars.ContextVar("request_id", default="-")
# An id ends up in logs and in a header, so only plain characters pass; anything else gets an id of our own.
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{8,64}")


def current_request_id() -> str:
    return _current.get()


def choose_request_id(given: str) -> str:
    return given if _ACCEPTABLE.fullmatch(given) else uuid.uuid4().hex


def enter_request(request_id: str) -> contextvars.Token[str]:
    return _current.set(request_id)


def leave_request(token: contextvars.Token[str]) -> None:
    _current.reset(token)
