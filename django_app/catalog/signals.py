from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from catalog.models import Photo


@receiver(post_delete, sender=Photo)
def delete_file(instance: Photo, **kwargs: Any) -> None:
    """A photo taken down must not stay reachable. After the commit, since a file does not roll back."""
    image = instance.image
    transaction.on_commit(lambda: image.storage.delete(image.name))
