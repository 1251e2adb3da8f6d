"""An installation that people use."""

from config.settings.base import *  # noqa: F403

DEBUG = False
