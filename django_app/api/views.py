from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticatedOrReadOnly
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from api.serializers import (
    CategorySerializer,
    ProductDetailSerializer,
    ProductQuerySerializer,
    ProductSerializer,
    ReviewSerializer,
)
from catalog import selectors, services
from catalog.models import Category, Product, Review


class RootView(APIView):
    """Where everything is."""

    @extend_schema(responses={200: dict[str, str]})
    def get(self, request: HttpRequest) -> Response:
        names = ["categories", "products", "schema", "docs"]
        return Response({name: reverse(f"api-{name}", request=request) for name in names})


class CategoryListView(generics.ListAPIView):
    """All categories."""

    queryset = Category.objects.none()
    serializer_class = CategorySerializer
    pagination_class = None

    def get_queryset(self) -> QuerySet[Category]:
        return selectors.categories()


class ProductListView(generics.ListAPIView):
    """Products, fifty a page; by name, or by relevance where a search is given."""

    queryset = Product.objects.none()
    serializer_class = ProductSerializer

    @extend_schema(parameters=[ProductQuerySerializer])
    def get(self, request: HttpRequest) -> Response:
        return self.list(request)

    def get_queryset(self) -> QuerySet[Product]:
        query = ProductQuerySerializer(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        search, category = query.validated_data.get("search"), query.validated_data.get("category")
        rows = selectors.search(search) if search else selectors.products()
        return rows.filter(category__slug=category) if category else rows


class ProductView(generics.RetrieveAPIView):
    """One product."""

    queryset = Product.objects.none()
    serializer_class = ProductDetailSerializer
    lookup_field = "slug"

    def get_object(self) -> Product:
        return get_object_or_404(selectors.products().defer(None).defer("search"), slug=self.kwargs["slug"])


class ReviewListView(generics.ListCreateAPIView):
    """A product's published reviews, newest first. Writing one needs a signed-in session and its CSRF token."""

    queryset = Review.objects.none()
    serializer_class = ReviewSerializer
    authentication_classes = [SessionAuthentication]
    permission_classes = [IsAuthenticatedOrReadOnly]

    def get_queryset(self) -> QuerySet[Review]:
        return selectors.published_reviews(self._product())

    def perform_create(self, serializer: BaseSerializer) -> None:
        serializer.instance = services.add_review(
            self._product(), **serializer.validated_data, author=self.request.user
        )

    def _product(self) -> Product:
        return get_object_or_404(Product.objects.defer("search"), slug=self.kwargs["slug"])


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """The schema as a plain page: no script, nothing loaded from elsewhere."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict)
    ]
    return render(request, "api/docs.html", {"info": schema["info"], "operations": operations})
