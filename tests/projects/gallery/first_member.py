"""Run once: a member, and a file for members. A second time, it fails."""

import os
from pathlib import Path

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402

User.objects.create_user("member", password=os.environ["GALLERY_PASSWORD"])
Path(os.environ["MEDIA_ROOT"], "private.txt").write_text("for members\n")
