"""One line per event on stderr, for journald: level, logger, request id, message, and where an exception came from."""

import logging
import os
import traceback
from typing import Any

from core.request_id import current_request_id

# journald reads a leading "<3>" as the entry's priority.
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        # Django logs some answers when the request has left the middleware already; then it hands the request over.
        request = getattr(record, "request", None)
        record.request_id = getattr(request, "id", None) or current_request_id()
        return True


class OneLineFormatter(logging.Formatter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._journald = "JOURNAL_STREAM" in os.environ

    def format(self, record: logging.LogRecord) -> str:
        # Whatever a client puts into a path or a header must not be able to start a line of its own.
        line = super().format(record).replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
        return f"<{PRIORITIES.get(record.levelno, 6)}>{line}" if self._journald else line

    def formatException(self, exc_info: Any) -> str:
        """The kind, the message's first line and the innermost calls.

        PostgreSQL puts the values of the row, which may be personal, into the second line.
        """
        kind, error, trace = exc_info
        message = (str(error).splitlines() or [""])[0]
        calls = traceback.extract_tb(trace)[-6:]
        path = " > ".join(f"{call.filename}:{call.lineno}:{call.name}" for call in calls)
        return f"{kind.__module__}.{kind.__qualname__}: {message} [{path}]"


def configuration(level: str) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "config.logging.RequestIdFilter"}},
        "formatters": {
            "line": {
                "()": "config.logging.OneLineFormatter",
                "format": "{levelname} {name} request={request_id} {message}",
                "style": "{",
            }
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "filters": ["request_id"], "formatter": "line"},
        },
        "root": {"handlers": ["stderr"], "level": level},
        # Django hangs a handler of its own here, which would print every event twice.
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
        },
    }
