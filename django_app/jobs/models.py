from django.db import models
from django.utils import timezone


class LastRun(models.Model):
    """When a kind of work was last done, and what came of it."""

    name = models.CharField(max_length=60, unique=True)
    ran_at = models.DateTimeField()
    detail = models.CharField(max_length=200)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"

    @classmethod
    def note(cls, name: str, detail: str) -> None:
        cls.objects.update_or_create(name=name, defaults={"ran_at": timezone.now(), "detail": detail[:200]})
