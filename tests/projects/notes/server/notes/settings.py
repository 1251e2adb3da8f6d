"""Settings of notes: what differs between installations comes from notes/local.py, which the installation writes."""

import os
from pathlib import Path

from notes import local

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = Path(os.environ["NOTES_KEY_FILE"]).read_text().strip()
DEBUG = False
ALLOWED_HOSTS = local.HOSTS
INSTALLED_APPS = ["django.contrib.staticfiles", "notes"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "notes.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["NOTES_DB_HOST"],
        "PORT": os.environ["NOTES_DB_PORT"],
        "NAME": os.environ["NOTES_DB_NAME"],
        "USER": os.environ["NOTES_DB_USER"],
        "PASSWORD": os.environ["NOTES_DB_PASSWORD"],
        "OPTIONS": {"sslmode": os.environ["NOTES_DB_SSLMODE"], "sslrootcert": os.environ["NOTES_DB_CA"], "connect_timeout": 3},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/assets/"
STATIC_ROOT = BASE_DIR / "build" / "assets"
STATICFILES_DIRS = [BASE_DIR / "assets"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
USE_TZ = True
