"""How much each service of a host may take. The one place with these formulae; docs/sizing.md shows what comes out.

All in MB. They start from the host's memory, rounded by the caller, so that a new kernel or a reboot changes nothing.
"""

from __future__ import annotations

#: What a process of nginx with its caches' books, and an app's processes, were seen to take under load, with room.
GATEWAY, PAGES_BOOKS = 40, 20
APP, PROCESS = 60, 50
#: pip, collectstatic, migrate, the candidate: one at a time, beside what serves.
RELEASE = 120
#: Redis and Memcached take more than their data: fragments, clients, hash tables.
OVERHEAD = 1.25

#: Of a worker's instance and of a timer's command, unless the contract says otherwise (django_app's filters).
COMPANION_MB, COMPANION_CONNECTIONS = 128, 1

#: Each app: migrate and somebody's shell; and with tags in its page cache the feed. Beyond all apps: superuser, checks, backups.
MANAGE, FEED, RESERVED = 2, 1, 10


def _clamp(low, value, high):
    return max(low, min(int(value), high))


def _keeps_pages(app):
    return (app.get("cache") or {}).get("mode", "off") != "off"


def _companions(app, key, what, default):
    """What all instances of the app's workers, or its timers, take together."""
    return [int(one.get("instances", 1)) * int(one.get(what, default)) for one in (app.get(key) or {}).values()]


def appliance_sizes(apps, memory_mb, cores, boxes, page_cache="none"):
    """Sizes of what runs on one host.

    apps: resolved apps; their ``processes`` and ``threads`` are taken as they are. memory_mb, cores: the host's. boxes: which of
    gateway, cache, app, db are on it. page_cache: where gateways share pages. Returns numbers; ``needed_mb`` is the worst case of all.
    """
    memory_mb, cores, boxes = int(memory_mb), int(cores), set(boxes)
    used = {use for app in apps.values() for use in ("cache", "queue") if (app.get("redis") or {}).get(use)}
    stores = int("cache" in used or page_cache == "redis")
    memcached = sum(1 for app in apps.values() if (app.get("memcached") or {}).get("cache")) + (page_cache == "memcached")
    sizes = {"system_mb": 128 + _clamp(0, memory_mb // 16, 1024)}

    # A tenth for what is kept in memory by Redis and Memcached, of which each instance has its share, and a twentieth for queues;
    # four times that where the cache is alone. A sixteenth for pages in the gateway, a quarter where that is alone.
    cache = memory_mb // 10 * (4 if boxes == {"cache"} else 1)
    sizes["redis_cache_mb"] = sizes["memcached_mb"] = max(32, cache // max(1, stores + memcached))
    sizes["redis_queue_mb"] = max(32, cache // 2)
    sizes["gateway_cache_mb"] = _clamp(16, memory_mb // (4 if boxes == {"gateway"} else 16) // 8 * 8, 1024)

    taken = sizes["system_mb"]
    if "gateway" in boxes:
        taken += GATEWAY + (PAGES_BOOKS + sizes["gateway_cache_mb"] if any(map(_keeps_pages, apps.values())) else 0)
    if "cache" in boxes:
        kept = sizes["redis_cache_mb"] * stores + sizes["memcached_mb"] * memcached + sizes["redis_queue_mb"] * ("queue" in used)
        taken += int(kept * OVERHEAD)

    # A hand-over never has workers twice; timers seldom run at once.
    if "app" in boxes:
        taken += sum(sum(_companions(app, "workers", "memory_mb", COMPANION_MB)) for app in apps.values())
        taken += max((one for app in apps.values() for one in _companions(app, "timers", "memory_mb", COMPANION_MB)), default=0)

    # What is left belongs to the database and the apps: where both are here, half to each, unless the apps need more to run at all.
    left = max(0, memory_mb - taken)
    least = RELEASE + (len(apps) + 1) * (APP + 2 * PROCESS)
    for_apps = max(left // 2, least) if {"app", "db"} <= boxes else left
    sizes["postgresql_memory_mb"] = max(128, (left - for_apps if "app" in boxes else left) // 8 * 8)
    sizes["postgresql_max_connections"] = _clamp(100, sizes["postgresql_memory_mb"] // 200 * 10, 500)
    if "db" in boxes:
        taken += sizes["postgresql_memory_mb"]

    # One app at a time is handed over, and then runs twice. Fewer than two processes, and one that hangs is all of them;
    # few processes get more threads, so that eight requests may wait for something at once.
    instance = max(0, for_apps - RELEASE) // (len(apps) + 1)
    sizes["apps"] = {}
    for name, app in apps.items():
        processes = int(app.get("processes") or _clamp(2, min(2 * cores, (instance - APP) // PROCESS), 16))
        threads = int(app.get("threads") or max(2, -(-8 // processes)))
        sizes["apps"][name] = {"processes": processes, "threads": threads, "memory_mb": max(instance, APP + PROCESS * processes) // 8 * 8}
    if "app" in boxes and apps:
        worst = [APP + PROCESS * one["processes"] for one in sizes["apps"].values()]
        taken += RELEASE + sum(worst) + max(worst)
    return sizes | {"needed_mb": taken}


def appliance_connections(apps, sizes):
    """Connections to the drawing's own database that one app host may open, its releases handed over, by app: ``{name: number}``."""
    return {
        name: sizes["apps"][name]["processes"] * sizes["apps"][name]["threads"] * 2
        + MANAGE
        + sum(_companions(app, "workers", "connections", COMPANION_CONNECTIONS))
        + sum(_companions(app, "timers", "connections", COMPANION_CONNECTIONS))
        + FEED * ((app.get("cache") or {}).get("mode") == "tags")
        for name, app in apps.items()
        if not (app.get("database") or {}).get("external")
    }


def appliance_size_problems(sizes, memory_mb, overcommit_mb=0):
    """Where a host's boxes do not fit into its memory: a list of sentences."""
    lacking = sizes["needed_mb"] - int(memory_mb)
    if lacking <= int(overcommit_mb):
        return []
    return [
        f"at worst the host's boxes and apps need {sizes['needed_mb']} MB, and it has {memory_mb} (docs/sizing.md); give it more, move"
        f" a box to another host, lower appliance_apps.<app>.processes, or take the risk: appliance_memory_overcommit_mb: {lacking}"
    ]


def appliance_connection_problems(hosts, hostvars, maximum):
    """Where apps may open more connections than the database takes: a list of sentences.

    hosts: app hosts; those that this run leaves out are not counted. In their variables is what ``appliance_connections`` says of each.
    """
    hosts = {host: hostvars[host]["__appliance_connections"] for host in hosts if "__appliance_connections" in hostvars[host]}
    needed = sum(number for apps in hosts.values() for number in apps.values()) + RESERVED
    if needed <= int(maximum):
        return []
    details = "; ".join(f"{host}: {', '.join(f'{app} {number}' for app, number in apps.items())}" for host, apps in hosts.items())
    return [
        f"postgresql_max_connections: {maximum} are fewer than the apps may open, {needed} with {RESERVED} in reserve ({details});"
        f" set postgresql_max_connections: {needed}, or fewer processes and threads in appliance_apps"
    ]


class FilterModule:
    """Filters of the sizes."""

    def filters(self):
        """Name to function, for Ansible."""
        return {
            name: globals()[name]
            for name in ("appliance_sizes", "appliance_connections", "appliance_size_problems", "appliance_connection_problems")
        }
