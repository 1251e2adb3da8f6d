"""The whole project: settings, views, URLs and WSGI."""

import os
from pathlib import Path

import dj_database_url
import redis
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import path

HERE = Path(__file__).resolve().parent
SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
INSTALLED_APPS = ["django.contrib.staticfiles"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "board"
DATABASES = {"default": dj_database_url.config()}
STATIC_URL = "/static/"
STATIC_ROOT = HERE / "collected"
STATICFILES_DIRS = [HERE / "dist"]
USE_TZ = True
QUEUE = "board:jobs"


def broker():
    """The queue's Redis."""
    return redis.from_url(os.environ["BROKER"])


def index(request):
    """The page that loads the script."""
    return HttpResponse(f'<!doctype html><title>Board</title><script src="{static("board.min.js")}"></script>')


def push(request, job):
    """Queue a job, and say how many wait."""
    return JsonResponse({"waiting": broker().rpush(QUEUE, job)})


urlpatterns = [path("", index), path("push/<slug:job>/", push)]
application = get_wsgi_application()
