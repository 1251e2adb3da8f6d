"""Views, URLs and WSGI of gallery."""

import base64
import binascii

from django.conf import settings
from django.contrib.auth import authenticate
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import render
from django.urls import path


def index(request):
    """The front page."""
    return render(request, "index.html")


def member(request):
    """Who asks, by HTTP's own means."""
    try:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        name, _, password = base64.b64decode(token).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return authenticate(request, username=name, password=password) if kind == "Basic" else None


def private(request, name):
    """A file, for members."""
    if member(request) is None:
        return HttpResponse("members only", status=401, headers={"WWW-Authenticate": 'Basic realm="gallery"'})
    file = (settings.MEDIA_ROOT / name).resolve()
    if not file.is_relative_to(settings.MEDIA_ROOT.resolve()) or not file.is_file():
        raise Http404
    return FileResponse(file.open("rb"))


urlpatterns = [path("", index), path("files/<path:name>", private)]
application = get_wsgi_application()
