from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from api import views

urlpatterns = [
    path("", views.RootView.as_view(), name="api-root"),
    path("categories/", views.CategoryListView.as_view(), name="api-categories"),
    path("products/", views.ProductListView.as_view(), name="api-products"),
    path("products/<slug:slug>/", views.ProductView.as_view(), name="api-product"),
    path("products/<slug:slug>/reviews/", views.ReviewListView.as_view(), name="api-reviews"),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs/", views.docs, name="api-docs"),
]
