"""What workers do. A job may be begun a second time when its worker was killed."""

from django.conf import settings
from django.core.mail import send_mail

from catalog.models import Review
from jobs.models import LastRun


def review_notice(review_id: int) -> None:
    """Tell the shop that somebody wrote a review."""
    review = Review.objects.select_related("product").filter(pk=review_id).first()
    if review is None:
        LastRun.note("review notice", f"review {review_id} was gone")
        return
    if settings.SHOP_EMAIL:
        address = f"https://{settings.ALLOWED_HOSTS[0]}{review.product.get_absolute_url()}#review-{review.pk}"
        subject = f"Review {review.pk}: {review.rating} of 5 for {review.product.name}"
        send_mail(subject, f"{review.name} wrote:\n\n{review.text}\n\n{address}\n", None, [settings.SHOP_EMAIL])
    LastRun.note("review notice", f"review {review_id}, release {settings.RELEASE}")
