"""Three pages."""

import os

from django.db import connection
from django.http import HttpResponse
from django.templatetags.static import static
from django.urls import path

from notes.models import Note


def index(request):
    """List the notes and say where they come from."""
    rows = "".join(f"<li>{note.pk}</li>" for note in Note.objects.all())
    return HttpResponse(
        f'<link rel="stylesheet" href="{static("notes.css")}"><h1>Notes</h1><ul>{rows}</ul>'
        f"<p>database {connection.settings_dict['NAME']} variables {'DATABASE_URL' in os.environ}</p>"
    )


def alive(request):
    """Answer a probe."""
    Note.objects.exists()
    return HttpResponse(status=204)


urlpatterns = [path("", index), path("alive/", alive)]
