"""Reads. Each function returns what one page needs, in a number of queries that does not grow with the rows.

What all requests have in common of a query is put together once (`@cache`); it is never evaluated, only refined.
"""

from functools import cache

from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db.models import Avg, Count, F, FloatField, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from accounts.models import User
from catalog.models import Category, Photo, Product, Review

SORTS = {
    "name": ("Name", ["name", "pk"]),
    "newest": ("Newest first", ["-created_at", "-pk"]),
    "price": ("Price, low to high", ["price", "pk"]),
    "-price": ("Price, high to low", ["-price", "-pk"]),
    "rating": ("Best rated", ["-rating", "-review_count", "name", "pk"]),
}
DEFAULT_SORT = "name"


@cache
def _categories() -> QuerySet[Category]:
    return Category.objects.annotate(product_count=Count("products")).order_by("position", "name")


def categories() -> QuerySet[Category]:
    return _categories().all()


def products(*, category: Category | None = None, sort: str = DEFAULT_SORT) -> QuerySet[Product]:
    """The rows of a list, with category and rating."""
    rows = _rows()
    if category:
        rows = rows.filter(category=category)
    return rows.order_by(*SORTS[sort][1])


def search(query: str) -> QuerySet[Product]:
    """Words, "quoted phrases", or, -without; and the beginning of a name while somebody is still typing it."""
    websearch = SearchQuery(query, search_type="websearch", config="english")
    return (
        products()
        .filter(Q(search=websearch) | Q(name__icontains=query) | Q(sku__iexact=query))
        .annotate(rank=SearchRank(F("search"), websearch))
        .order_by("-rank", "name", "pk")
    )


def product_by_slug(slug: str) -> Product | None:
    return _details().filter(slug=slug).first()


def related_products(product: Product, count: int = 4) -> QuerySet[Product]:
    """Neighbours in the category by price."""
    distance = (F("price") - Value(product.price)) * (F("price") - Value(product.price))
    return products(category=product.category).exclude(pk=product.pk).order_by(distance, "pk")[:count]


def published_reviews(product: Product) -> QuerySet[Review]:
    return product.reviews.filter(is_published=True)


def photos(product: Product) -> QuerySet[Photo]:
    return product.photos.all()


def reviews_by(user: User, count: int = 20) -> QuerySet[Review]:
    return user.reviews.select_related("product").defer("product__search", "product__description")[:count]


def photos_by(user: User, count: int = 20) -> QuerySet[Photo]:
    return user.photos.select_related("product").defer("product__search", "product__description")[:count]


@cache
def _rows() -> QuerySet[Product]:
    """Without what no list shows."""
    fields = ["sku", "name", "slug", "summary", "price", "stock"]
    shelf = ["category__name", "category__slug", "category__drawing"]
    return _with_rating(Product.objects.select_related("category").only(*fields, *shelf))


@cache
def _details() -> QuerySet[Product]:
    return _with_rating(Product.objects.select_related("category").defer("search"))


def _with_rating(rows: QuerySet[Product]) -> QuerySet[Product]:
    """Sub-queries rather than a join: they run for the rows of the page only, and `count()` drops them."""
    reviews = Review.objects.filter(product=OuterRef("pk"), is_published=True).order_by().values("product")
    return rows.annotate(
        rating=Coalesce(
            Subquery(reviews.annotate(value=Avg("rating")).values("value")), 0.0, output_field=FloatField()
        ),
        review_count=Coalesce(
            Subquery(reviews.annotate(value=Count("pk")).values("value")), 0, output_field=IntegerField()
        ),
    )
