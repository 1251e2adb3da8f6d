"""How values are shown; plain functions, so that every template engine can use them."""

from collections.abc import Iterator

from django.core.paginator import Page


def stars(rating: float) -> str:
    full = round(rating)
    return "★" * full + "☆" * (5 - full)


def page_numbers(page: Page) -> Iterator[int | str]:
    return page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
