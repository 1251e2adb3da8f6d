"""Telling "the database is away" from "the query is wrong"."""

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

RETRY_AFTER_SECONDS = 5

# SQLSTATE classes and codes that speak of the connection: refused or lost, no free slot, shutting down or starting up.
_AWAY_CLASSES = ("08",)
_AWAY_CODES = {"53300", "57P01", "57P02", "57P03"}


def is_database_away(error: BaseException | None) -> bool:
    """A deadlock or a full disk is an OperationalError too, but the database is there: that stays an error."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    return sqlstate is None or sqlstate in _AWAY_CODES or sqlstate.startswith(_AWAY_CLASSES)


def database_away_response(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        response: HttpResponse = JsonResponse({"detail": "The database is away. Please try again."}, status=503)
    else:
        # Without a request, so that no context processor asks the database who is signed in.
        response = HttpResponse(render_to_string("503.html"), status=503)
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    response["Cache-Control"] = "no-store"
    return response
