import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from config import templating

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()
templating.preload(settings.TEMPLATE_ENGINE, settings.BASE_DIR / "templates")
