import datetime
import random
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils.text import slugify

from catalog.models import Category, Product, Review
from catalog.seed_data import DEPARTMENTS, REVIEWERS, REVIEWS, VARIANTS, Department, Kind, Variant

OPENING_DAY = datetime.datetime(2025, 3, 1, 9, 0, tzinfo=datetime.UTC)


class Command(BaseCommand):
    help = "Fill the catalogue with 320 products and their reviews. What is already there stays as it is."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        Category.objects.bulk_create(
            [
                Category(
                    name=department.name,
                    slug=department.slug,
                    description=department.description,
                    drawing=department.slug,
                    position=position,
                )
                for position, department in enumerate(DEPARTMENTS)
            ],
            ignore_conflicts=True,
        )
        categories = Category.objects.in_bulk([department.slug for department in DEPARTMENTS], field_name="slug")
        known = {value for pair in Product.objects.values_list("sku", "slug") for value in pair}
        wanted = [
            product(department, kind, variant, sku=f"{department.slug[:2].upper()}-{number + 1:03}", day=day)
            for department in DEPARTMENTS
            for number, (kind, variant, day) in enumerate(shelf(department))
        ]
        new = [row for row in wanted if not {row.sku, row.slug} & known and row.category.slug in categories]
        for row in new:
            row.category = categories[row.category.slug]
        Product.objects.bulk_create(new)
        reviews = Review.objects.bulk_create([review for row in new for review in reviews_of(row)])
        self.stdout.write(f"Added {len(new)} products and {len(reviews)} reviews; {len(wanted) - len(new)} were there.")


def shelf(department: Department) -> list[tuple[Kind, Variant, int]]:
    """Every kind in each of its variants, and on which day of the first year it came in."""
    rng = random.Random(f"days {department.slug}")
    return [(kind, variant, rng.randrange(365)) for kind in department.kinds for variant in VARIANTS[kind.variants]]


def product(department: Department, kind: Kind, variant: Variant, *, sku: str, day: int) -> Product:
    rng = random.Random(f"stock {sku}")
    name = f"{variant.name} {kind.name}"
    return Product(
        category=Category(slug=department.slug),
        sku=sku,
        name=name,
        slug=slugify(name),
        summary=kind.summary,
        description=f"{kind.words}\n\n{variant.words} {department.closing}",
        material=variant.material,
        dimensions=kind.size,
        price=Decimal(round(kind.price * variant.price_factor)) - Decimal("0.10"),
        stock=rng.choice([0, 3, 8, 14, 25, 60]),
        created_at=OPENING_DAY + datetime.timedelta(days=day, minutes=rng.randrange(480)),
    )


def reviews_of(row: Product) -> list[Review]:
    rng = random.Random(f"reviews {row.sku}")
    return [
        Review(
            product=row,
            name=rng.choice(REVIEWERS),
            rating=rating,
            text=text,
            created_at=row.created_at + datetime.timedelta(days=rng.randrange(5, 200), minutes=rng.randrange(900)),
        )
        for rating, text in rng.sample(REVIEWS, k=rng.choice([0, 1, 2, 2, 3, 4, 6]))
    ]
