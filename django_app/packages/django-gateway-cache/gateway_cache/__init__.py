"""Pages and query results cached outside Django, and never stale: PostgreSQL itself records what changed. See README.md."""

from gateway_cache.keys import key
from gateway_cache.pages import purge, shows, tag

__all__ = ["key", "purge", "shows", "tag"]
