from __future__ import annotations

import uuid
from pathlib import PurePath

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from core.addresses import address


class Category(models.Model):
    class Drawing(models.TextChoices):
        """The drawings in static/img/; a free text here could name a file that does not exist."""

        KITCHEN = "kitchen"
        TABLE = "table"
        LIGHTING = "lighting"
        DESK = "desk"
        GARDEN = "garden"
        TEXTILES = "textiles"
        STORAGE = "storage"
        TRAVEL = "travel"

    name = models.CharField(max_length=60, unique=True)
    slug = models.SlugField(max_length=60, unique=True)
    description = models.CharField(max_length=200)
    drawing = models.CharField(max_length=20, choices=Drawing, default=Drawing.KITCHEN)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "name"]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return address("category", self.slug)

    @property
    def picture(self) -> str:
        return f"img/{self.drawing}.svg"


class Product(models.Model):
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="products")
    sku = models.CharField("article number", max_length=20, unique=True)
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=120, unique=True)
    summary = models.CharField(max_length=200)
    description = models.TextField()
    material = models.CharField(max_length=80, blank=True)
    dimensions = models.CharField(max_length=80, blank=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, help_text="In euro, with tax.")
    stock = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Kept by PostgreSQL itself, so rows written by any other means are found too.
    search = models.GeneratedField(
        expression=SearchVector("name", weight="A", config="english")
        + SearchVector("summary", "material", weight="B", config="english")
        + SearchVector("description", weight="C", config="english"),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    class Meta:
        ordering = ["name", "pk"]
        indexes = [
            GinIndex(fields=["search"], name="product_search"),
            models.Index(fields=["name", "id"], name="product_by_name"),
            models.Index(fields=["price", "id"], name="product_by_price"),
            models.Index(fields=["-created_at", "-id"], name="product_by_age"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(price__gt=0), name="product_price_is_positive"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return address("product", self.slug)

    @property
    def tint(self) -> int:
        """One of the six background tints, the same one for a product everywhere."""
        return self.pk % 6


class Review(models.Model):
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="reviews")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="reviews"
    )
    name = models.CharField("your name", max_length=60)
    rating = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(5)])
    text = models.TextField("your review", max_length=2000)
    is_published = models.BooleanField("published", default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-created_at", "-pk"]
        indexes = [
            models.Index(
                fields=["product", "-created_at", "-id"],
                condition=models.Q(is_published=True),
                name="review_published",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(rating__gte=1, rating__lte=5), name="review_rating_is_one_to_five"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rating} of 5 for {self.product}"


def photo_path(photo: Photo, filename: str) -> str:
    """Named by us: a file name chosen by a visitor never reaches the disk."""
    return f"photos/{timezone.now():%Y/%m}/{uuid.uuid4().hex}{PurePath(filename).suffix.lower()}"


class Photo(models.Model):
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="photos")
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="photos"
    )
    image = models.ImageField(upload_to=photo_path, width_field="width", height_field="height")
    width = models.PositiveIntegerField(editable=False)
    height = models.PositiveIntegerField(editable=False)
    caption = models.CharField(
        max_length=120, help_text="Say what can be seen; it is read out to people who cannot see."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-created_at", "-pk"]
        indexes = [models.Index(fields=["product", "-created_at"], name="photo_by_product")]

    def __str__(self) -> str:
        return self.caption
