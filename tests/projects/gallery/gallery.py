"""The whole project: settings, views, URLs and WSGI."""

import base64
import binascii
import os
from pathlib import Path

import dj_database_url
from django.contrib.auth import authenticate
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import render
from django.urls import path

HERE = Path(__file__).resolve().parent
SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.staticfiles", "compressor"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "gallery"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [HERE / "templates"]}]
DATABASES = {"default": dj_database_url.config()}
STATIC_URL = "/static/"
STATIC_ROOT = os.environ["STATIC_ROOT"]
STATICFILES_DIRS = [HERE / "assets"]
STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder", "compressor.finders.CompressorFinder"]
MEDIA_ROOT = Path(os.environ["MEDIA_ROOT"])
# A page whose styles were not packed beforehand fails.
COMPRESS_ENABLED = COMPRESS_OFFLINE = True
USE_TZ = True


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
    file = (MEDIA_ROOT / name).resolve()
    if not file.is_relative_to(MEDIA_ROOT.resolve()) or not file.is_file():
        raise Http404
    return FileResponse(file.open("rb"))


urlpatterns = [path("", index), path("files/<path:name>", private)]
application = get_wsgi_application()
