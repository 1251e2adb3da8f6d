from django.urls import path

from catalog import views

urlpatterns = [
    path("", views.home, name="home"),
    path("catalog/", views.product_list, name="catalog"),
    path("catalog/<slug:slug>/", views.product_list, name="category"),
    path("search/", views.search, name="search"),
    path("products/<slug:slug>/", views.product_detail, name="product"),
    path("products/<slug:slug>/review/", views.review_create, name="review"),
    path("products/<slug:slug>/photo/", views.photo_create, name="photo"),
]
