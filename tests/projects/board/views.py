"""Views, URLs and WSGI of board."""

import os

import redis
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import path

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
