"""Settings of gallery."""

import os
from pathlib import Path

import dj_database_url

HERE = Path(__file__).resolve().parent
SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.staticfiles", "compressor"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "views"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [HERE / "templates"], "APP_DIRS": True}]
DATABASES = {"default": dj_database_url.config()}
STATIC_URL = "/static/"
STATIC_ROOT = os.environ["STATIC_ROOT"]
STATICFILES_DIRS = [HERE / "assets"]
STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder", "compressor.finders.CompressorFinder"]
MEDIA_ROOT = Path(os.environ["MEDIA_ROOT"])
# A page whose styles were not packed beforehand fails.
COMPRESS_ENABLED = COMPRESS_OFFLINE = True
USE_TZ = True
