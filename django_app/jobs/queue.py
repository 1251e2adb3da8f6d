"""Jobs lie in Redis' own instance for them, which evicts nothing; a worker (`manage.py work`) does them."""

import logging
from typing import Any

from django.conf import settings
from django.db import transaction
from redis import Redis
from rq import Queue, Retry

logger = logging.getLogger(__name__)

#: Seconds until a job is begun again that failed, or whose worker died; the relay may be away for an hour.
PAUSES = [0, 30, 300, 900, 3600]
JOB_SECONDS = 60
WEEK = 7 * 24 * 3600


def connection(**options: Any) -> Redis:
    return Redis.from_url(settings.QUEUE_URL, **options)


def queue(link: Redis | None = None) -> Queue:
    # A visitor waits for this one, so not for long.
    return Queue(connection=link or connection(socket_connect_timeout=1, socket_timeout=2))


def enqueue(task: str, *arguments: Any) -> None:
    """Once the transaction is committed, so that the job finds its rows. The visitor gets his page with or without."""
    options = {"job_timeout": JOB_SECONDS, "result_ttl": 3600, "failure_ttl": WEEK}
    options["retry"] = Retry(max=len(PAUSES), interval=PAUSES)

    def send() -> None:
        queue().enqueue(task, *arguments, **options)

    transaction.on_commit(send, robust=True)
