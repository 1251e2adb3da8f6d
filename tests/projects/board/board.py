"""Settings of board."""

import os
from pathlib import Path

import dj_database_url

HERE = Path(__file__).resolve().parent
SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
INSTALLED_APPS = ["django.contrib.staticfiles"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "views"
DATABASES = {"default": dj_database_url.config()}
STATIC_URL = "/static/"
STATIC_ROOT = HERE / "collected"
STATICFILES_DIRS = [HERE / "dist"]
USE_TZ = True
