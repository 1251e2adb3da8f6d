"""The live state of each box of the drawing, as the app sees it."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import django
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest
from django.utils import timezone
from gateway_cache import conf, triggers

from jobs.models import LastRun

STARTED_AT = timezone.now()

OK, DEGRADED, DOWN = "ok", "degraded", "down"


@dataclass
class Box:
    name: str
    state: str
    facts: dict[str, Any] = field(default_factory=dict)
    remark: str = ""


def database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone() == (1,)
    except django.db.Error:
        return False


def cache_answers() -> bool:
    """Written and read back: the client swallows errors, so that silence is no proof."""
    key, token = "status:probe", uuid4().hex
    cache.set(key, token, 10)
    return cache.get(key) == token


def gateway(request: HttpRequest) -> Box:
    headers = ["Host", "X-Forwarded-Proto", "X-Forwarded-For", "X-Request-ID", "Via"]
    facts = {name: request.headers.get(name, "–") for name in headers}
    if "X-Request-ID" not in request.headers or "X-Forwarded-For" not in request.headers:
        return Box("Gateway", DEGRADED, facts, "This request came past the gateway, or the gateway hides who asks.")
    return Box("Gateway", OK, facts)


def application(request: HttpRequest) -> Box:
    return Box(
        "Application",
        OK,
        {
            "Release": settings.RELEASE,
            "Python": platform.python_version(),
            "Django": django.get_version(),
            "Server": _server(request),
            "Templates": settings.TEMPLATE_ENGINE,
            "Process": f"{os.getpid()} on {platform.node()}",
            "Up since": f"{STARTED_AT:%Y-%m-%d %H:%M} UTC",
        },
    )


def shared_cache() -> Box:
    backend = settings.CACHES["default"]["BACKEND"].rsplit(".", 1)[-1]
    answers, milliseconds = _timed(cache_answers)
    facts = {
        "Backend": backend,
        "Key prefix": settings.CACHES["default"]["KEY_PREFIX"],
        "Query results": f"kept {settings.CACHALOT_TIMEOUT} s at most (cachalot)" if settings.CACHALOT else "not kept",
    }
    if not answers:
        return Box("Cache", DEGRADED, facts, "No answer. Pages are slower without it, but complete.")
    remark = "" if backend != "LocMemCache" else "Each process keeps its own: no CACHE_URL is set."
    return Box("Cache", OK, facts | {"Write and read": f"{milliseconds:.1f} ms"}, remark)


def kept_pages() -> Box:
    """Whether gateways may keep pages: PostgreSQL must record every change of what they show."""
    wanted = set(conf.tracked_models())
    missing = wanted - triggers.watched_tables(conf.database())
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM gateway_cache_change")
        (changes,) = cursor.fetchone()
    facts = {
        "Watched tables": f"{len(wanted - missing)} of {len(wanted)}",
        "Changes remembered": changes,
        "Kept at most": f"{conf.seconds()} s",
    }
    if missing:
        return Box(
            "Kept pages",
            DEGRADED,
            facts,
            f"Not watched: {', '.join(sorted(missing))}. Run migrate; until then pages are not kept.",
        )
    return Box("Kept pages", OK, facts)


def database() -> Box:
    answers, milliseconds = _timed(database_answers)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), current_database(), current_user,"
            " pg_size_pretty(pg_database_size(current_database()))"
        )
        server, name, user, size = cursor.fetchone()
        cursor.execute("SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        encrypted, tls_version, cipher = cursor.fetchone() or (False, None, None)
    missing = unapplied_migrations()
    options = settings.DATABASES["default"]["OPTIONS"]
    facts = {
        "PostgreSQL": server,
        "Host": settings.DATABASES["default"]["HOST"] or "unix socket",
        "Database": f"{name} as {user}, {size}",
        "Connection": f"{tls_version}, {cipher}" if encrypted else "not encrypted",
        "Certificate": options.get("sslmode", "not checked"),
        "Round trip": f"{milliseconds:.1f} ms",
        "Migrations": f"{len(missing)} to apply: {', '.join(missing)}" if missing else "all applied",
    }
    return Box("Database", DEGRADED if missing or not answers else OK, facts)


def jobs() -> Box:
    """What workers and timers have done; the queue itself, where there is one."""
    facts: dict[str, Any] = {
        run.name.capitalize(): f"{run.ran_at:%Y-%m-%d %H:%M:%S} UTC: {run.detail}" for run in LastRun.objects.all()
    }
    if not settings.QUEUE_URL:
        return Box("Jobs", OK, facts, "No QUEUE_URL is set, so nothing is queued.")
    from redis.exceptions import RedisError
    from rq import Worker

    from jobs.queue import queue

    try:
        line = queue()
        workers = Worker.count(queue=line)
        facts = {
            "Queued": line.count,
            "Begun": line.started_job_registry.get_job_count(cleanup=False),
            "Failed": line.failed_job_registry.get_job_count(cleanup=False),
            "Workers": workers,
        } | facts
    except RedisError as error:
        remark = f"The queue does not answer ({type(error).__name__}); reviews go without a notice."
        return Box("Jobs", DEGRADED, facts, remark)
    if not workers:
        return Box("Jobs", DEGRADED, facts, "Nobody works on the queue.")
    return Box("Jobs", OK, facts)


def unapplied_migrations() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def _server(request: HttpRequest) -> str:
    if "uwsgi.version" in request.META:
        return f"uWSGI {request.META['uwsgi.version'].decode()}"
    return request.META.get("SERVER_SOFTWARE", "unknown").replace("/", " ")


def _timed(check: Callable[[], bool]) -> tuple[bool, float]:
    start = time.perf_counter()
    answer = check()
    return answer, (time.perf_counter() - start) * 1000
