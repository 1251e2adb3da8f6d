import logging

from accounts.models import User

logger = logging.getLogger(__name__)


def update_profile(user: User, *, first_name: str, last_name: str, email: str) -> None:
    user.first_name, user.last_name, user.email = first_name, last_name, email
    user.save(update_fields=["first_name", "last_name", "email"])
    logger.info("profile changed: user=%s", user.pk)
