import sys

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

from core.database_away import database_away_response, is_database_away


def server_error(request: HttpRequest) -> HttpResponse:
    """Django calls this inside its `except` block, also for what middleware raised (a session that cannot be saved)."""
    error = sys.exc_info()[1]
    if is_database_away(error):
        return database_away_response(request, error)
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "Something went wrong on our side."}, status=500)
    return HttpResponse(render_to_string("500.html"), status=500)
