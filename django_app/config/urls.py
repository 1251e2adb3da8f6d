from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

from core import views

urlpatterns = [
    path("", include("catalog.urls")),
    path("", include("status.urls")),
    path("account/", include("accounts.urls")),
    path("api/", include("api.urls")),
    path("admin/", admin.site.urls),
    path("robots.txt", views.robots),
    path("favicon.ico", views.favicon),
    # With DEBUG only: elsewhere the gateway serves uploaded files.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]

handler500 = "core.views.server_error"
