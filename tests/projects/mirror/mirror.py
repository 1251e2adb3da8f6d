"""The whole project: settings, the one view, URLs and WSGI."""

import base64
import json
import os
import time
import uuid

from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
INSTALLED_APPS = []
MIDDLEWARE = []
ROOT_URLCONF = "mirror"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True


def answer(request, told=""):
    """Whatever the path says, and what came in."""
    told = json.loads(base64.urlsafe_b64decode(told + "=" * (-len(told) % 4))) if told else {}
    time.sleep(told.get("seconds", 0))
    page = {
        "id": uuid.uuid4().hex,
        "method": request.method,
        "path": request.get_full_path(),
        "headers": dict(request.headers),
        "body": len(request.body),
        "filling": "mirror " * 146 * told.get("kilobytes", 1),
    }
    response = HttpResponse(json.dumps(page), status=told.get("status", 200), content_type="application/json")
    for name, value in told.get("headers", []):
        # Django would send one line for each name.
        response.headers[name] = value
    return response


urlpatterns = [path("", answer), path("answer/<str:told>/", answer)]
application = get_wsgi_application()
