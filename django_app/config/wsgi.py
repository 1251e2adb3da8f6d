import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import reverse

from config import templating

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

# Loaded before the first request, and before a server forks: no visitor waits for it, and processes share the memory.
reverse("home")
templating.preload(settings.TEMPLATE_ENGINE, settings.BASE_DIR / "templates")
