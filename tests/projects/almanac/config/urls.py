"""One page, which counts its visits in a file."""

from django.conf import settings
from django.db import connection
from django.http import HttpResponse
from django.urls import path


def index(request):
    """Say which database this is, and how often it was asked."""
    with open(settings.HERE / "journal" / "visits", "a+") as file:
        file.write(".")
        file.seek(0)
        visits = len(file.read())
    connection.ensure_connection()
    return HttpResponse(f"almanac of {connection.settings_dict['NAME']}, visit {visits}")


def alive(request):
    """Answer a probe."""
    connection.ensure_connection()
    return HttpResponse("alive")


urlpatterns = [path("", index), path("alive", alive)]
