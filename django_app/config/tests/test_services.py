import pytest

from config import services


def test_database_url_with_odd_password_and_tls_options():
    config = services.database(
        "postgres://shop:p%40ss%2F%3A%3Fw%25%24@192.0.2.21:5432/shop"
        "?sslmode=verify-full&sslrootcert=/etc/appliance/tls/ca.pem&connect_timeout=3&tcp_user_timeout=2500"
    )
    assert (config["USER"], config["PASSWORD"], config["HOST"], config["PORT"], config["NAME"]) == (
        "shop",
        "p@ss/:?w%$",
        "192.0.2.21",
        5432,
        "shop",
    )
    assert (
        config["OPTIONS"]
        | {
            "sslmode": "verify-full",
            "sslrootcert": "/etc/appliance/tls/ca.pem",
            "connect_timeout": 3,
            "tcp_user_timeout": 2500,
        }
        == config["OPTIONS"]
    )
    assert config["CONN_HEALTH_CHECKS"] is True


def test_database_is_given_up_in_time_without_any_option():
    """Without these a cut-off database hangs the site for minutes."""
    options = services.database("postgres://shop:x@192.0.2.21/shop")["OPTIONS"]
    assert options["connect_timeout"] + options["tcp_user_timeout"] / 1000 < 5


@pytest.mark.parametrize(
    "url", ["sqlite:////tmp/x", "mysql://u:hidden@h/n", "postgres://u:hidden@h:port/n", "postgres://u:hidden@h"]
)
def test_wrong_database_url_is_refused_without_its_password(url):
    with pytest.raises(ValueError) as caught:
        services.database(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["redis://shop:x@192.0.2.11:6379/0", "rediss://h:6379?ssl_ca_certs=/ca.pem", "unix:///run/redis-cache/redis.sock"],
)
def test_cache_url_reaches_the_client_unchanged(url):
    assert services.redis_cache(url)["LOCATION"] == url


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("pymemcache:///run/memcached-shop/memcached.sock", "unix:/run/memcached-shop/memcached.sock"),
        ("pymemcache://192.0.2.11:11211", "192.0.2.11:11211"),
    ],
)
def test_memcached_by_socket_or_by_address(url, location):
    config = services.cache(url)
    assert config["LOCATION"] == location
    assert config["BACKEND"].endswith("PyMemcacheCache")


@pytest.mark.parametrize("url", ["pymemcache://", "memcache://h:1", "file:///tmp/cache"])
def test_cache_url_of_another_kind_is_refused(url):
    with pytest.raises(ValueError, match="must"):
        services.cache(url)


@pytest.mark.parametrize("url", ["unix:///run/redis/redis.sock", "pymemcache://192.0.2.11:11211"])
def test_query_results_lie_apart_and_errors_are_noticed(url):
    """A store whose errors are swallowed would be waited for at every query."""
    config = services.query_results(services.cache(url) | {"KEY_PREFIX": "shop"})
    assert config["KEY_PREFIX"] == "shop:rows"
    assert config["BACKEND"].startswith("gateway_cache.backends.Checked")
    assert not {"IGNORE_EXCEPTIONS", "ignore_exc"} & set(config["OPTIONS"])


def test_mail_url_gives_the_mail_settings():
    config = services.mail("smtp+tls://shop:p%40ss@mail.example.test:587")
    assert (config["EMAIL_HOST"], config["EMAIL_PORT"], config["EMAIL_USE_TLS"], config["EMAIL_HOST_PASSWORD"]) == (
        "mail.example.test",
        587,
        True,
        "p@ss",
    )
