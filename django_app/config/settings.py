"""All settings. What differs from place to place comes from the environment; nothing has an insecure fallback."""

import os
from pathlib import Path

from config import env, logging, services, templating

BASE_DIR = Path(__file__).resolve().parent.parent

environment = env.Environment(os.environ)

# What this deployment is
SECRET_KEY = environment.required("SECRET_KEY", env.secret_key)
ALLOWED_HOSTS = environment.required("ALLOWED_HOSTS", env.host_names, fallback=[])
CSRF_TRUSTED_ORIGINS = environment.required("CSRF_TRUSTED_ORIGINS", env.names, fallback=[])
STATIC_ROOT = environment.required("STATIC_ROOT", env.absolute_path)
MEDIA_ROOT = environment.required("MEDIA_ROOT", env.absolute_path)
RELEASE = environment.optional("RELEASE") or environment.optional("APPLIANCE_RELEASE", "unknown")
DEBUG = environment.optional("DEBUG", False, env.boolean)
TEMPLATE_ENGINE = environment.optional("TEMPLATE_ENGINE", "django", env.one_of(*templating.ENGINES))
CACHALOT = environment.optional("CACHALOT", False, env.boolean)
LOG_LEVEL = environment.optional("LOG_LEVEL", "INFO", env.one_of("DEBUG", "INFO", "WARNING", "ERROR"))

# The services it uses
DATABASES = {"default": environment.required("DATABASE_URL", services.database, fallback={})}
CACHES = {
    "default": environment.optional("CACHE_URL", services.LOCAL_CACHE, services.cache)
    | {"KEY_PREFIX": environment.optional("CACHE_KEY_PREFIX", "shop")}
}
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True
# Without QUEUE_URL there are no jobs.
QUEUE_URL = environment.optional("QUEUE_URL", "", services.queue)
# Read by rq when it is imported: all of its keys begin with it.
os.environ["RQ_KEY_PREFIX"] = environment.optional("QUEUE_KEY_PREFIX", "shop") + ":rq"
# Without EMAIL_URL no mail leaves; it is dropped rather than sent through a server that nobody named.
globals().update(
    environment.optional("EMAIL_URL", {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}, services.mail)
)
DEFAULT_FROM_EMAIL = environment.optional("DEFAULT_FROM_EMAIL", "webmaster@localhost")
# Who is told of each new review; nobody, unless it is set.
SHOP_EMAIL = environment.optional("SHOP_EMAIL")

environment.check()

# The project
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "core",
    "accounts",
    "catalog",
    "api",
    "jobs",
    "status",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django.forms",
    "rest_framework",
    "drf_spectacular",
    "gateway_cache",
]
MIDDLEWARE = [
    "gateway_cache.middleware.GatewayCacheMiddleware",
    "core.middleware.RequestIdMiddleware",
    "core.middleware.ContentSecurityPolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = templating.templates(TEMPLATE_ENGINE, BASE_DIR / "templates")
LOGGING = logging.configuration(LOG_LEVEL)

# Sign-in
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "account"
LOGOUT_REDIRECT_URL = "home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Language and time
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

# Files. Static names carry a hash of the content, so that they may be cached for ever.
STATIC_URL = "/static/"
MEDIA_URL = "/media/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "core.storage.StaticFilesStorage"},
}

# Security. Only the gateway reaches the app, and it sets X-Forwarded-Proto itself.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = not DEBUG
SESSION_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    # HSTS binds the whole domain, static pages included, so the gateway owns it and the app must not send a second one.
    "security.W004",
]

# Pages that gateways may keep say what they show of these (catalog.views); PostgreSQL records each change of them.
# Behind a gateway that says which pages it would keep, the others are not described to it.
GATEWAY_CACHE = {"models": ["catalog"]} | (
    {"asked_by": "X-Appliance-Probe"} if environment.optional("APPLIANCE_CONTENT") else {}
)

# Results of queries, if CACHALOT says so. By table: those of the catalogue, which are read far more often than written.
# Not users, sessions, permissions and the admin's log: nearly every request of somebody signed in writes one of them.
if CACHALOT:
    INSTALLED_APPS.append("cachalot")
    CACHES["cachalot"] = services.query_results(CACHES["default"])
    CACHALOT_CACHE = "cachalot"
    CACHALOT_TIMEOUT = 600
    CACHALOT_ONLY_CACHABLE_TABLES = ["catalog_category", "catalog_product", "catalog_review", "catalog_photo"]
    # A result is as good as the database's own record says (packages/django-gateway-cache).
    CACHALOT_QUERY_KEYGEN = "gateway_cache.view.query_key"
    CACHALOT_TABLE_KEYGEN = "gateway_cache.view.table_key"

# The API
REST_FRAMEWORK = {
    # JSON only: the browsable API needs inline scripts, which a strict content security policy forbids.
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    # None: reading needs no session, so answers do not vary by cookie. Views that write ask for one themselves.
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Larkfield catalogue",
    "DESCRIPTION": (
        "Categories, products and reviews. Reading is open to everyone; writing a review needs a signed-in session."
    ),
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
}
