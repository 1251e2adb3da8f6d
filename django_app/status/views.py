from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from status import checks


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """This process serves. Asks nobody else, so that a database outage restarts no server."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Requests can be served: not without the database, more slowly without the cache."""
    database, cache = checks.database_answers(), checks.cache_answers()
    state = "unavailable" if not database else "ok" if cache else "degraded"
    body = {
        "status": state,
        "release": settings.RELEASE,
        "checks": {"database": "ok" if database else "down", "cache": "ok" if cache else "down"},
    }
    return JsonResponse(body, status=200 if database else 503)


@require_safe
@never_cache
@login_required
def status(request: HttpRequest) -> HttpResponse:
    if not request.user.is_staff:
        raise PermissionDenied
    boxes = [
        checks.gateway(request),
        checks.application(request),
        checks.shared_cache(),
        checks.kept_pages(),
        checks.database(),
        checks.jobs(),
    ]
    return render(request, "status/status.html", {"boxes": boxes})
