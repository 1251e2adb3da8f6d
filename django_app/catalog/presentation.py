"""How values are shown; plain functions, so that every template engine can use them."""

from collections.abc import Iterator
from functools import lru_cache

from django.core.paginator import Page
from django.template.defaultfilters import floatformat
from django.utils.html import format_html
from django.utils.safestring import SafeString

__all__ = ["page_numbers", "product_rating", "review_rating", "stars"]


def stars(rating: float) -> str:
    full = round(rating)
    return "★" * full + "☆" * (5 - full)


@lru_cache(maxsize=1000)
def product_rating(rating: float, review_count: int) -> SafeString:
    """A product's mean rating; in a list it stands in every row, so it is kept ready-made."""
    if not review_count:
        return format_html('<span class="stars"><span class="count">{}</span></span>', "No reviews yet")
    return format_html(
        '<span class="stars"><span role="img" aria-label="Rated {} of 5">{}</span> '
        '<span class="count">({}<span class="visually-hidden"> {}</span>)</span></span>',
        floatformat(rating, 1),
        stars(rating),
        review_count,
        "review" if review_count == 1 else "reviews",
    )


@lru_cache(maxsize=5)
def review_rating(rating: int) -> SafeString:
    return format_html('<span class="stars" role="img" aria-label="{} of 5">{}</span>', rating, stars(rating))


def page_numbers(page: Page) -> Iterator[int | str]:
    return page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
