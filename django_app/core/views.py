import sys

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from core.database_away import database_away_response, is_database_away


def server_error(request: HttpRequest) -> HttpResponse:
    """The handler of every fault, in views and in middleware. Django calls it inside its `except` block."""
    if is_database_away(sys.exc_info()[1]):
        return database_away_response(request)
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "Something went wrong on our side."}, status=500)
    return HttpResponse(render_to_string("500.html"), status=500)


@require_safe
@cache_control(max_age=3600, public=True)
def robots(request: HttpRequest) -> HttpResponse:
    return HttpResponse((settings.BASE_DIR / "pages" / "robots.txt").read_bytes(), content_type="text/plain")


@require_safe
@cache_control(max_age=3600, public=True)
def favicon(request: HttpRequest) -> HttpResponseBase:
    """Asked for by whatever does not read the page's link to it."""
    return redirect(static("img/favicon.svg"))
