from datetime import timedelta

from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand
from django.utils import timezone

from catalog.models import Review
from jobs.models import LastRun

KEPT = timedelta(days=90)


class Command(BaseCommand):
    help = (
        "Forgets sessions that ran out and reviews that nobody published for 90 days; gives failed jobs another chance."
    )

    def handle(self, **options):
        now = timezone.now()
        sessions, _ = Session.objects.filter(expire_date__lt=now).delete()
        reviews, _ = Review.objects.filter(is_published=False, created_at__lt=now - KEPT).delete()
        detail = f"{sessions} sessions, {reviews} reviews forgotten"
        if settings.QUEUE_URL:
            detail += f", {self.requeue()} jobs begun again"
        LastRun.note("tidy", f"{detail}, release {settings.RELEASE}")
        self.stdout.write(detail)

    @staticmethod
    def requeue() -> int:
        from jobs.queue import queue

        failed = queue().failed_job_registry
        ids = failed.get_job_ids()
        for one in ids:
            failed.requeue(one)
        return len(ids)
