"""What all installations share."""

from pathlib import Path

import environ

HERE = Path(__file__).resolve().parents[2]
env = environ.Env()
env.read_env(HERE / ".env")

SECRET_KEY = env("DJANGO_SECRET_KEY")
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS")
DATABASES = {"default": env.db("DJANGO_DATABASE_URL")}
INSTALLED_APPS = ["django.contrib.contenttypes"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "config.urls"
USE_TZ = True
