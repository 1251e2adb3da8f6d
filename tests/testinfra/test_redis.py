"""Redis serves each app its own keys, over a socket for its group or over TLS; nothing else, and nobody else."""

from __future__ import annotations

import pytest

CACHE = "web1"
SOCKET = "/run/redis-cache/redis.sock"
UNIT = "redis-server@cache"


@pytest.fixture(autouse=True, scope="module")
def _only_with_redis(site):
    if UNIT not in site.cache_units:
        pytest.skip("this drawing has no Redis")


@pytest.fixture
def redis(site):
    """Give commands by standard input, as root or by a prefix like runuser; the answers' lines."""

    def redis(*commands, as_="", check=True):
        return site.on(CACHE, f"{as_} redis-cli -s {SOCKET}", check=check, input="\n".join(commands) + "\n").splitlines()

    return redis


@pytest.fixture
def as_user(redis, secrets):
    """Give one command as a user; the answer without the login's."""

    def as_user(name, secret, command):
        if secret not in secrets:
            pytest.skip(f"this drawing has no user {name}")
        answer = [line for line in redis(f"AUTH {name} {secrets[secret]}", command) if line]
        assert answer.pop(0) == "OK"
        return "\n".join(answer)

    return as_user


@pytest.fixture
def as_shop(as_user):
    """Give one command as the app."""
    return lambda command: as_user("shop", "shop_redis_password", command)


@pytest.fixture
def as_gateway(as_user):
    """Give one command as the gateways' page cache."""
    return lambda command: as_user("gateway", "gateway_cache_password", command)


def test_nobody_is_served_without_a_name(redis):
    """The user `default` is off."""
    assert "NOAUTH" in redis("PING")[0]


@pytest.mark.parametrize(
    "command",
    [
        "SET shop:appliance-test 1 EX 60",
        "GET shop:appliance-test",
        "SCAN 0 MATCH shop:* COUNT 10",
        "INFO server",
        "CLIENT SETINFO LIB-NAME redis-py",
        "CLIENT SETNAME worker",
        "SCRIPT LOAD 'return 1'",
        "EVAL \"return redis.call('get', KEYS[1])\" 1 shop:appliance-test",
        "PUBLISH shop:news 1",
        "BRPOP shop:queue 0.01",
        "DEL shop:appliance-test",
    ],
)
def test_app_may(as_shop, command):
    """What django-redis, Celery and RQ need."""
    assert "NOPERM" not in as_shop(command)
    assert "ERR" not in as_shop(command)


@pytest.mark.parametrize(
    "command",
    [
        "GET notes:a",
        "GET pages:a",
        "SET pages:a 1",
        "SET a 1",
        "EVAL \"return redis.call('get', 'notes:a')\" 0",
        "PUBLISH notes:news 1",
        "FLUSHDB",
        "FLUSHALL",
        "KEYS *",
        "CONFIG GET *",
        "ACL LIST",
        "MONITOR",
        "SHUTDOWN NOSAVE",
        "MODULE LIST",
        "FUNCTION LIST",
        "SCRIPT FLUSH",
        "REPLICAOF 203.0.113.1 6379",
        "CLIENT KILL ID 1",
        "SAVE",
    ],
)
def test_app_may_not(as_shop, command):
    """What reaches other apps' data and the gateways' pages, or the server."""
    assert "NOPERM" in as_shop(command) or "ACL failure in script" in as_shop(command)


def test_gateways_may_read_and_write_pages(as_gateway):
    """That is all they do there."""
    assert as_gateway("SET pages:appliance-test 1 EX 5") == "OK"
    assert as_gateway("GET pages:appliance-test") == "1"


@pytest.mark.parametrize(
    "command",
    ["GET shop:a", "SET shop:a 1", "DEL pages:a", "SCAN 0", "KEYS *", "INFO", "EVAL 'return 1' 0", "PUBLISH pages:x 1", "CONFIG GET *"],
)
def test_gateways_may_do_nothing_else(as_gateway, command):
    """They face the network; sessions and counters of apps are not theirs to see."""
    assert "NOPERM" in as_gateway(command)


def test_socket_is_for_its_group(redis):
    """One account, with the group and without."""
    assert "NOAUTH" in redis("PING", as_="runuser -u nobody -g redis-clients --")[0]
    assert "Permission denied" in redis("PING", as_="runuser -u nobody --", check=False)[0]


@pytest.mark.parametrize("path", ["/etc/redis/redis-cache.conf", "/etc/redis/users-cache.acl", "/var/lib/redis-cache"])
def test_group_of_the_socket_reads_neither_users_nor_data(site, path):
    """Hashes of passwords, and every app's keys."""
    assert "Permission denied" in site.on(
        CACHE, f"runuser -u nobody -g redis-clients -- ls {path}/ 2>&1 || runuser -u nobody -g redis-clients -- cat {path}", check=False
    )


def test_package_s_own_instance_does_not_run(site):
    """It would listen without a password."""
    assert site.on(CACHE, "systemctl is-active redis-server; systemctl is-enabled redis-server", check=False).split() == [
        "inactive",
        "masked",
    ]


def test_nothing_listens_without_tls(site):
    """Here all clients are on this host, so nothing listens at all."""
    assert "redis-server" not in site.on(CACHE, "ss -Hltnp")


def test_cache_evicts_and_keeps_nothing(redis, secrets):
    """A full cache that refused writes would break pages."""
    answers = redis(
        f"AUTH admin {secrets['redis_admin_password']}", "CONFIG GET maxmemory-policy", "CONFIG GET appendonly", "CONFIG GET save"
    )
    settings = [line for line in answers if line]
    assert settings[1:5] == ["maxmemory-policy", "allkeys-lru", "appendonly", "no"]


def test_unit_is_sandboxed_and_comes_back(site):
    """The smaller the score, the less a break-in reaches."""
    assert float(site.on(CACHE, f"systemd-analyze security --no-pager {UNIT}").rsplit("service: ", 1)[1].split()[0]) <= 2.0
    assert site.on(CACHE, f"systemctl show -P Restart {UNIT}").strip() == "always"
