"""The gateway on its own host: what it logs, how it is confined, and that it survives bad configurations and lost apps."""

from __future__ import annotations

import json
import re
import time
import uuid

import pytest

HOST, APP, DOMAIN = "web1", "shop", "shop.example.test"
LOG = "/var/log/nginx/access.log"


@pytest.fixture
def on(site):
    """Run a command on the gateway."""
    return lambda command, **options: site.on(HOST, command, **options)


@pytest.fixture
def get(site):
    """Fetch a page through the front door."""
    return lambda path="/": site.get(DOMAIN, path)


@pytest.fixture
def curl(on):
    """curl on the gateway itself: options and URL, with the site's name leading to this host."""
    return lambda arguments, **options: on(
        f"curl -s --cacert /etc/appliance/tls/ca.pem --connect-to {DOMAIN}:443:127.0.0.1:443 --connect-to {DOMAIN}:80:127.0.0.1:80"
        f" {arguments}",
        **options,
    )


def stylesheet(get):
    """Path of the stylesheet that the home page names."""
    return re.search(r'href="(/static/[^"]+\.css)"', get("/").text)[1]


def test_unit_is_confined(on):
    """Debian's own unit scores 9.6."""
    score = float(re.search(r"exposure level for nginx.service: ([\d.]+)", on("systemd-analyze security --no-pager nginx"))[1])
    assert score <= 3.0


def test_code_is_made_at_run_time_only_for_a_page_cache(on, get):
    """LuaJIT needs it, and nothing else here does; then the shared store's password is root's alone."""
    cached = "X-Cache" in get("/").headers
    assert on("systemctl show nginx -p MemoryDenyWriteExecute").strip() == f"MemoryDenyWriteExecute={'no' if cached else 'yes'}"
    assert ("ngx_http_lua" in on("cat /proc/$(pgrep -o -u www-data nginx)/maps")) is cached
    assert on("stat -c '%U %a' /etc/nginx/gateway-store-password || echo none").split("\n")[-2] == ("root 600" if cached else "none")


def test_worker_may_open_many_files(on):
    """Debian's limit is 1024, which two connections for each visitor use up."""
    worker = "$(pgrep -o -u www-data nginx)"
    assert re.search(r"Max open files\s+16384", on(f"cat /proc/{worker}/limits"))


def test_worker_cannot_read_private_keys(on):
    """Workers face the network; a path that leads outside must not lead to a key."""
    key = f"/etc/appliance/tls/{APP}/privkey.pem"
    assert "refused" in on(f"setpriv --reuid www-data --regid www-data --init-groups test -r {key} || echo refused")
    assert "readable" in on(f"test -r {key} && echo readable")


def test_only_the_two_ports_are_listened_on(on):
    """No status page, no default site."""
    ports = re.findall(r"[\d\]*]:(\d+)\s", on("ss -Hltnp | grep '\"nginx\"' | awk '{print $4\" \"}'"))
    assert set(ports) == {"80", "443"}


def test_plain_http_is_led_to_https_with_path_and_query(curl, site):
    """The port is the one in users' URLs."""
    port = site.variables(HOST)["appliance_public_port"]
    location = curl(f"-o /dev/null -w '%{{http_code}} %{{redirect_url}}' 'http://{DOMAIN}/a/b?c=1&d=%20'")
    assert location.strip() == f"308 https://{DOMAIN}{'' if port == 443 else f':{port}'}/a/b?c=1&d=%20"


def test_acme_challenge_is_answered_here(curl, on):
    """Not redirected, and only what lies there."""
    folder = "/var/lib/appliance/acme/.well-known/acme-challenge"
    on(f"mkdir -p {folder} && chmod 755 /var/lib/appliance /var/lib/appliance/acme && echo proof > {folder}/token-for-test")
    try:
        assert curl(f"http://{DOMAIN}/.well-known/acme-challenge/token-for-test").strip() == "proof"
        assert "404" in curl(f"-o /dev/null -w '%{{http_code}}' http://{DOMAIN}/.well-known/acme-challenge/other")
    finally:
        on(f"rm -f {folder}/token-for-test")


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1"])
def test_plain_http_for_an_unknown_name_is_refused(on, host):
    """A redirect would lend the site's address to any name."""
    assert "421" in on(f"curl -s -o /dev/null -w '%{{http_code}}' -H 'Host: {host}' http://127.0.0.1/")


def test_log_tells_the_true_client_and_no_query(curl, on):
    """A query may hold a password-reset token; X-Forwarded-For is what a client likes it to be."""
    marker = uuid.uuid4().hex
    spoof = "-H 'X-Forwarded-For: 198.51.100.66' -H 'X-Real-IP: 198.51.100.66'"
    curl(f"-o /dev/null {spoof} -e 'https://elsewhere.test/?secret={marker}' 'https://{DOMAIN}/healthz/{marker}/?token=secret-{marker}'")
    time.sleep(1.5)
    line = on(f"grep {marker} {LOG}").strip()
    assert f"secret-{marker}" not in line
    entry = json.loads(line)
    assert entry["client"] == "127.0.0.1"
    assert entry["path"] == f"/healthz/{marker}/"
    assert entry["referer"] == "https://elsewhere.test/"


def test_log_stays_json_whatever_a_client_sends(curl, on):
    """A quote or a line break in a header must not forge an entry."""
    marker = uuid.uuid4().hex
    curl(f"""-o /dev/null -A '{marker}","client":"198.51.100.66' 'https://{DOMAIN}/healthz?\\"'""")
    time.sleep(1.5)
    entry = json.loads(on(f"grep {marker} {LOG}"))
    assert entry["client"] == "127.0.0.1"


def test_one_id_leads_from_the_answer_through_both_logs(curl, on):
    """What a customer quotes is found at once."""
    answer = curl(f"-o /dev/null -D - https://{DOMAIN}/no-such-page-{uuid.uuid4().hex}/")
    request_id = re.search(r"(?im)^x-request-id: ([0-9a-f]{32})", answer)[1]
    time.sleep(1.5)
    assert json.loads(on(f"grep {request_id} {LOG}"))["status"] == "404"
    assert request_id in on("journalctl -t shop --since -1min -o cat --no-pager")


def test_logs_are_rotated_and_go_on(curl, on):
    """nginx would write into the old file until its disk is full."""
    on("logrotate -f /etc/logrotate.d/nginx")
    marker = uuid.uuid4().hex
    curl(f"-o /dev/null https://{DOMAIN}/healthz/{marker}")
    time.sleep(1.5)
    assert marker in on(f"cat {LOG}")
    assert on(f"stat -c '%U %G %a' {LOG}").strip() == "www-data adm 640"


def test_maintenance_page_is_switched_by_a_file(on, get):
    """Each worker of nginx looks for it once a second; without a reload, for the app only."""
    style, workers = stylesheet(get), on("pgrep -u www-data nginx")
    on(f"touch /etc/appliance/maintenance/{APP}")
    time.sleep(2)
    try:
        page = get("/")
        assert page.status == 503
        assert page.headers["Retry-After"]
        assert "Under maintenance" in page.text
        assert get(style).status == 200
    finally:
        on(f"rm /etc/appliance/maintenance/{APP}")
        time.sleep(2)
    assert get("/").status == 200
    assert on("pgrep -u www-data nginx") == workers


def test_lost_app_is_told_as_503(on, get):
    """In words, with the time to come back; files are served all the while."""
    style = stylesheet(get)
    try:
        on(f"systemctl stop {APP}.socket '{APP}@*.service'")
        page = get("/?never=kept")
        assert page.status == 503
        assert page.headers["Retry-After"]
        assert "Back in a moment" in page.text
        assert page.headers["X-Request-ID"] in page.text
        assert get(style).status == 200
    finally:
        on(f"systemctl start {APP}.socket")
    assert get("/?never=kept").status == 200


def test_broken_configuration_is_not_loaded_and_the_reload_says_so(on, get):
    """Debian's reload answers 0 all the same."""
    on("cp -a /etc/nginx/nginx.conf /run/nginx.conf.kept && echo broken >> /etc/nginx/nginx.conf")
    try:
        assert "failed" in on("systemctl reload nginx || echo failed")
        assert get("/").status == 200
    finally:
        on("mv /run/nginx.conf.kept /etc/nginx/nginx.conf && systemctl reload nginx")
    assert get("/").status == 200


def test_configuration_that_nginx_cannot_follow_fails_the_reload(on, get):
    """A port that is taken passes nginx -t; nginx then silently keeps what it had."""
    on("systemd-run -q --unit=taker python3 -m http.server 8555")
    on("cp -a /etc/nginx/nginx.conf /run/nginx.conf.kept && sed -i '0,/listen 80;/s//listen 80; listen 8555;/' /etc/nginx/nginx.conf")
    try:
        time.sleep(1)
        on("nginx -t -q")
        assert "failed" in on("systemctl reload nginx || echo failed")
        assert get("/").status == 200
    finally:
        on("systemctl stop taker; mv /run/nginx.conf.kept /etc/nginx/nginx.conf && systemctl reload nginx")


FILES = {
    "page.html": {"Content-Disposition": "attachment", "Content-Security-Policy": "default-src 'none'; sandbox"},
    "drawing.svg": {"Content-Disposition": "attachment", "Content-Security-Policy": "default-src 'none'; sandbox"},
    "unknown.zzz": {"Content-Disposition": "attachment", "Content-Security-Policy": "default-src 'none'; sandbox"},
    "picture.png": {"Content-Disposition": None, "Content-Security-Policy": None},
}


@pytest.fixture
def media(on):
    """A folder among the uploads, owned by the app."""
    folder = f"/srv/{APP}/media/test-{uuid.uuid4().hex[:8]}"
    on(f"install -d -o {APP} -g www-data -m 2750 {folder}")
    yield folder
    on(f"rm -rf {folder}")


@pytest.mark.parametrize("name", FILES)
def test_upload_that_a_browser_would_run_is_a_download(on, get, media, name):
    """An uploaded page would act in the site's name."""
    on(f"echo x > {media}/{name} && chown {APP}:www-data {media}/{name}")
    answer = get(f"{media.removeprefix(f'/srv/{APP}')}/{name}")
    assert answer.status == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for header, value in FILES[name].items():
        assert answer.headers[header] == value


def test_link_among_uploads_leads_nowhere_else(on, get, media):
    """Without the check, a compromised app could publish what the web server may read."""
    url = media.removeprefix(f"/srv/{APP}")
    on(f"cd {media} && echo x > own.txt && ln -s own.txt kept.txt && ln -s /etc/passwd foreign.txt && chown -h {APP}:www-data *")
    assert get(f"{url}/own.txt").status == 200
    assert get(f"{url}/kept.txt").status == 200
    assert get(f"{url}/foreign.txt").status == 404


@pytest.mark.parametrize("name", [".env", ".git/config"])
def test_hidden_file_is_not_served(on, get, media, name):
    """What tools leave behind may hold secrets."""
    on(f"cd {media} && mkdir -p .git && echo x > {name} && echo x > seen && chown -R {APP}:www-data .")
    url = media.removeprefix(f"/srv/{APP}")
    assert get(f"{url}/seen").status == 200
    assert get(f"{url}/{name}").status == 404


def test_run_that_was_killed_before_the_reload_is_noticed(on):
    """What the role asks before it decides: is any file newer than what nginx has read?"""
    question = "find /etc/nginx /etc/appliance/tls/shop -newercm /run/nginx/loaded"
    assert on(question).strip() == ""
    on("touch /etc/nginx/nginx.conf")
    assert "nginx.conf" in on(question)
    on("systemctl reload nginx")
    assert on(question).strip() == ""
