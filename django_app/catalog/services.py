"""Writes."""

import logging
from io import BytesIO

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import UploadedFile
from PIL import Image, ImageOps

from accounts.models import User
from catalog.models import Photo, Product, Review

logger = logging.getLogger(__name__)

PHOTO_EDGE_PIXELS = 1600


def add_review(product: Product, *, name: str, rating: int, text: str, author: User | None = None) -> Review:
    review = Review(product=product, author=author, name=name, rating=rating, text=text)
    review.full_clean()
    review.save()
    logger.info("review added: review=%s product=%s", review.pk, product.pk)
    if settings.QUEUE_URL:
        from jobs.queue import enqueue  # a site without a queue carries none of it

        enqueue("jobs.tasks.review_notice", review.pk)
    return review


def add_photo(product: Product, *, upload: UploadedFile, caption: str, user: User) -> Photo:
    """The picture is drawn anew: no GPS position or other hidden data, no file that only begins like a picture."""
    upload.seek(0)
    with Image.open(upload) as original:
        # First of all made smaller: a JPEG is then read at a fraction of its size, in half the memory or less.
        original.thumbnail((PHOTO_EDGE_PIXELS, PHOTO_EDGE_PIXELS))
        picture = ImageOps.exif_transpose(original).convert("RGB")
    data = BytesIO()
    picture.save(data, "JPEG", quality=85, optimize=True)
    image = ContentFile(data.getvalue(), name="photo.jpg")
    photo = Photo(product=product, uploaded_by=user, image=image, caption=caption)
    try:
        photo.save()
    except Exception:
        photo.image.delete(save=False)  # the file is written before the row
        raise
    logger.info("photo added: photo=%s product=%s", photo.pk, product.pk)
    return photo
