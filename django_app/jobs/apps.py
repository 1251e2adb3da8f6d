from django.apps import AppConfig
from django.conf import settings


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        if settings.QUEUE_URL:
            # Before the server forks: a third of its memory is shared that way, and no visitor waits for the import.
            from jobs import queue  # noqa: F401
