from collections.abc import Iterable

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe
from gateway_cache import key, tag

from catalog import selectors, services
from catalog.forms import ListForm, PhotoForm, ReviewForm, SearchForm
from catalog.models import Category, Photo, Product, Review

PAGE_ROWS = 48  # fills rows of two, three and four cards
REVIEW_ROWS = 30
PHOTO_ROWS = 12

# The public pages never look at the session, so that they set no cookie, do not vary by one, and a gateway may keep
# them. Each is tagged with what it shows (django-gateway-cache): a change of any other row leaves it in the cache.


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    products = selectors.products(sort="newest")[:8]
    page = render(request, "catalog/home.html", {"categories": selectors.categories(), "products": products})
    return tag(page, Category, Product, lambda: _ratings(products))


@require_safe
def product_list(request: HttpRequest, slug: str | None = None) -> HttpResponse:
    category = get_object_or_404(Category, slug=slug) if slug else None
    form = ListForm(request.GET)
    sort = form.cleaned_data["sort"] if form.is_valid() else selectors.DEFAULT_SORT
    rows = Paginator(selectors.products(category=category, sort=sort), PAGE_ROWS).get_page(request.GET.get("page"))
    page = render(
        request,
        "catalog/product_list.html",
        {
            "category": category,
            "categories": selectors.categories(),
            "page": rows,
            "sort": sort,
            "sorts": [(name, label) for name, (label, _) in selectors.SORTS.items()],
        },
    )
    # Any review may change the order by rating.
    return tag(page, Category, Product, lambda: [Review] if sort == "rating" else _ratings(rows))


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    query = form.cleaned_data["q"] if form.is_valid() else ""
    found = selectors.search(query) if query else Product.objects.none()
    rows = Paginator(found, PAGE_ROWS).get_page(request.GET.get("page"))
    page = render(request, "catalog/search.html", {"form": form, "query": query, "page": rows})
    return tag(page, Category, Product, lambda: _ratings(rows))


@require_safe
def product_detail(request: HttpRequest, slug: str) -> HttpResponse:
    product = _product(slug)
    related = selectors.related_products(product)
    page = render(
        request,
        "catalog/product_detail.html",
        {
            "product": product,
            "reviews": selectors.published_reviews(product)[:REVIEW_ROWS],
            "photos": selectors.photos(product)[:PHOTO_ROWS],
            "related": related,
        },
    )

    def shown() -> list[str]:
        neighbours = key(Product, category=product.category_id)
        return [neighbours, key(Photo, product=product), *_ratings([product, *related])]

    return tag(page, product, product.category, shown)


def review_create(request: HttpRequest, slug: str) -> HttpResponse:
    product = _product(slug)
    author = request.user if request.user.is_authenticated else None
    form = ReviewForm(request.POST or None, initial={"name": author.first_name if author else ""})
    if request.method == "POST" and form.is_valid():
        review = services.add_review(product, **form.cleaned_data, author=author)
        return redirect(f"{product.get_absolute_url()}#review-{review.pk}")
    return render(request, "catalog/review_form.html", {"product": product, "form": form})


@login_required
def photo_create(request: HttpRequest, slug: str) -> HttpResponse:
    product = _product(slug)
    form = PhotoForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        photo = services.add_photo(
            product, upload=form.cleaned_data["image"], caption=form.cleaned_data["caption"], user=request.user
        )
        return redirect(f"{product.get_absolute_url()}#photo-{photo.pk}")
    return render(request, "catalog/photo_form.html", {"product": product, "form": form})


def _ratings(products: Iterable[Product]) -> list[str]:
    """What the stars of these products, and the reviews below one, stand on."""
    return [key(Review, product=product) for product in products]


def _product(slug: str) -> Product:
    product = selectors.product_by_slug(slug)
    if product is None:
        raise Http404("No such product")
    return product
