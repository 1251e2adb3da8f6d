#!/usr/bin/python
"""What a host of the appliance can tell about itself."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: appliance_state
short_description: What a host of the appliance can tell about itself
description:
  - Runs all checks of a host that need no other host, at the same time. Nothing is changed.
  - Returns C(rows) (check, ok, detail; ok is null for what is merely worth knowing), C(listeners) and C(addresses) of the
    host, and its C(clock) beside C(asked_at), the control node's time when it asked.
options:
  boxes: {description: Which boxes of the drawing the host is, type: list, elements: str, required: true}
  apps: {description: "The apps; see filter verify_apps", type: list, elements: dict, required: true}
  memcached: {description: "Instances of Memcached on the host: name, perhaps listen and port", type: list, elements: dict, default: []}
  store: {description: "Where gateways share pages: backend, and socket or host, port, ca, server_name", type: dict, default: {}}
  address: {description: The host's own address, type: str, required: true}
  certificates: {description: Names of the key pairs that the host needs, type: list, elements: str, required: true}
  tls_dir: {description: Folder of the key pairs and of the appliance's authority, type: path, required: true}
  certificate_days: {description: Days that a certificate must still be valid, type: int, required: true}
  disk_percent: {description: Share of a file system that may be in use, type: int, required: true}
  memory_percent: {description: Share of memory that must be available, type: int, required: true}
  ignored_units: {description: Units that may have failed, type: list, elements: str, required: true}
  asked_at: {description: The control node's time in seconds, type: float, required: true}
author: Django Appliance
"""

EXAMPLES = r"""
- appliance_state:
    boxes: [db]
    apps: []
    address: 192.0.2.10
    certificates: [postgresql]
    tls_dir: /etc/appliance/tls
    certificate_days: 30
    disk_percent: 90
    memory_percent: 5
    ignored_units: []
    asked_at: "{{ now().timestamp() }}"
"""

COMMAND_SECONDS = 30
FILE_SYSTEMS = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "vfat", "tmpfs"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Run by the app's own manage.py, with its own settings: how it reaches its database, and what it has not migrated.
ASK_APP = """
import io, json
from django.core.management import call_command
from django.db import connection
answer = {"engine": connection.vendor}
try:
    with connection.cursor() as cursor:
        cursor.execute("select current_user, ssl, version from pg_stat_ssl where pid = pg_backend_pid()")
        answer["user"], answer["tls"], answer["version"] = cursor.fetchone()
    link = connection.connection
    options = link.info.get_parameters() if hasattr(link.info, "get_parameters") else link.get_dsn_parameters()
    answer["host"], answer["sslmode"] = options.get("host"), options.get("sslmode")
    try:
        call_command("migrate", "--check", stdout=io.StringIO())
        answer["migrated"] = True
    except SystemExit:
        answer["migrated"] = False
except Exception as error:
    answer["error"] = f"{type(error).__name__}: {error}"
print("\\nverify " + json.dumps(answer))
"""

ASK_DATABASE = """
select format('PostgreSQL %s, %s of %s connections', current_setting('server_version'),
  (select count(*) from pg_stat_activity where backend_type = 'client backend'), current_setting('max_connections'))
"""


def brief(text):
    """The last line that says something: where tracebacks and tools put the reason. PostgreSQL adds a question to it."""
    lines = [line.strip() for line in str(text).splitlines() if line.strip() and not line.strip().startswith("Is the server ")]
    return lines[-1][:200] if lines else "no output"


def run(*command):
    """A command's (code, output); what went wrong is in the output."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            cwd="/",
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        return 127, f"{command[0]} is not installed"
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} gave no answer in {COMMAND_SECONDS} s"
    return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr


def unix_socket(path, seconds):
    """A connection to a unix socket; an error names the path."""
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(seconds)
    try:
        link.connect(path)
    except OSError as error:
        link.close()
        raise type(error)(error.errno, error.strerror, path) from None
    return link


class UnixHTTPConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = unix_socket(self.path, self.timeout)


class DirectHTTPSConnection(http.client.HTTPSConnection):
    """HTTPS to a given address, verified for the name of the site."""

    def __init__(self, name, address, context, timeout):
        super().__init__(name, 443, context=context, timeout=timeout)
        self.address, self.name, self.tls = address, name, context

    def connect(self):
        plain = socket.create_connection((self.address, 443), self.timeout)
        self.sock = self.tls.wrap_socket(plain, server_hostname=self.name)


def listeners():
    """Sockets that other hosts might reach: ``[{protocol, address, port, process}]``."""
    code, output = run("ss", "-Hlntup")
    if code:
        raise OSError(brief(output))
    return parse_listeners(output)


def parse_listeners(text):
    """Read what ss prints; loopback and link-local addresses are left out."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 6 or words[0] not in ("tcp", "udp"):
            continue
        address, _, port = words[4].rpartition(":")
        address, _, device = address.partition("%")
        address, device = address.strip("[]"), device.rstrip("]")
        loopback = device == "lo" or address == "::1" or re.match(r"(::ffff:)?127\.", address)
        if loopback or re.match(r"fe[89ab]|ff|22[4-9]\.|23\d\.", address):
            continue
        process = re.search(r'\(\("([^"]+)"', line)
        found.append({"protocol": words[0], "address": address, "port": int(port), "process": process[1] if process else "kernel"})
    return found


def addresses():
    """All addresses of the host that reach beyond its link."""
    _, output = run("ip", "-j", "address", "show", "scope", "global")
    return [one["local"] for link in json.loads(output) for one in link.get("addr_info", []) if "local" in one]


class Checks:
    """Each method yields rows: (check, ok, detail)."""

    def __init__(self, params):
        self.__dict__.update(params)

    def all(self):
        """The checks of this host's boxes, as (name, function without arguments)."""
        yield "failed units", self.units
        yield "disk", self.disk
        yield "memory", self.memory
        yield "clock", self.clock
        yield "reboot", self.reboot
        yield "firewall", self.firewall
        yield "certificates", self.key_pairs
        if "db" in self.boxes:
            yield "database", self.database
        for instance in self.memcached:
            yield f"memcached {instance['name']}", lambda instance=instance: self.memcached_instance(instance)
        if self.store:
            yield "store of pages", self.store_of_pages
        for app in self.apps:
            cached = app["cache"]["mode"] != "off"
            if "gateway" in self.boxes and cached:
                yield f"{app['name']} page cache", lambda app=app: self.page_cache(app)
            if "app" in self.boxes and cached:
                yield f"{app['name']} feed", lambda app=app: self.feed(app)
            if "gateway" in self.boxes:
                for number, domain in enumerate([*app["domains"], *app["redirects"]]):
                    redirected = number >= len(app["domains"])
                    title = f"https://{domain}{app['path'].rstrip('/')}"
                    yield title, partial(self.site, app, domain, redirected, title)
            if "app" in self.boxes:
                yield f"{app['name']} on its socket", lambda app=app: self.app_socket(app)
                yield f"{app['name']} database", lambda app=app: self.app_database(app)
                if app["companions"]:
                    yield f"{app['name']} workers and timers", lambda app=app: self.app_companions(app)
                if app["redis"]:
                    yield f"{app['name']} redis", lambda app=app: self.app_redis(app)

    def units(self):
        _, output = run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full")
        failed = [line.split()[0] for line in output.splitlines() if line.strip()]
        failed = [unit for unit in failed if unit not in self.ignored_units]
        yield "failed units", not failed, ", ".join(failed) or "none"

    def disk(self):
        details, fine, seen = [], True, set()
        for line in Path("/proc/self/mounts").read_text().splitlines():
            path, kind = line.split()[1:3]
            path = path.encode().decode("unicode_escape")
            # An overlay's room is that of the disk below it; only a lab's root is nothing else.
            if kind not in FILE_SYSTEMS and path != "/":
                continue
            room, device = os.statvfs(path), os.stat(path).st_dev
            if device in seen or room.f_flag & os.ST_RDONLY or not room.f_blocks:
                continue
            seen.add(device)
            used = 100 - 100 * room.f_bavail // room.f_blocks
            inodes = 100 - 100 * room.f_favail // room.f_files if room.f_files else 0
            full = max(used, inodes) > self.disk_percent
            fine &= not full
            if full or kind != "tmpfs":
                details.append(f"{path} {used} % used" + (f", {inodes} % of inodes" if inodes > used else ""))
        yield "disk", fine, "; ".join(details)

    def memory(self):
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        values = {words[0].rstrip(":"): int(words[1]) for words in lines}
        share = 100 * values["MemAvailable"] // values["MemTotal"]
        yield "memory", share >= self.memory_percent, f"{share} % of {values['MemTotal'] // 1024} MB available"

    def clock(self):
        """Chrony's word where it runs; the report compares with the control node anyway."""
        _, output = run("systemctl", "show", "chrony", "-p", "LoadState,ActiveState,ConditionResult")
        state = dict(line.partition("=")[::2] for line in output.splitlines())
        if state.get("LoadState") != "loaded":
            return
        if state["ActiveState"] != "active":
            # Where a container may not set its clock systemd skips the unit, and its host keeps the time.
            if state["ConditionResult"] == "yes":
                yield "clock", False, f"chrony is {state['ActiveState']}"
            return
        _, output = run("chronyc", "-c", "tracking")
        words = output.strip().split(",")
        if len(words) < 14:
            yield "clock", False, f"chrony: {brief(output)}"
            return
        off = abs(float(words[4]))
        yield "clock", words[13] == "Normal" and off < 1, f"chrony: {words[13].lower()}, {off * 1000:.1f} ms off"

    def reboot(self):
        if os.path.exists("/run/reboot-required"):
            packages = Path("/run/reboot-required.pkgs")
            reason = ", ".join(sorted(set(packages.read_text().split()))) if packages.exists() else "some package"
            yield "reboot", None, f"pending, asked for by {reason}"

    def firewall(self):
        code, output = run("nft", "-j", "list", "chains")
        if code:
            yield "firewall", False, brief(output)
            return
        chains = [one["chain"] for one in json.loads(output)["nftables"] if "chain" in one]
        drops = [one["table"] for one in chains if one.get("hook") == "input" and one.get("policy") == "drop"]
        yield "firewall", bool(drops), f"table {drops[0]} drops what no rule accepts" if drops else "no chain drops input"

    def key_pairs(self):
        """Days left on every certificate, the authority's own included."""
        left = {}
        for name, path in [("ca", "ca.pem"), *((name, f"{name}/fullchain.pem") for name in self.certificates)]:
            whole = Path(self.tls_dir, path)
            code, output = run("openssl", "x509", "-noout", "-enddate", "-in", str(whole))
            if code:
                output = output if whole.exists() else f"{whole} is missing"
                yield f"certificate {name}", False, brief(output)
                continue
            left[name] = int(ssl.cert_time_to_seconds(output.strip().partition("=")[2]) - time.time()) // 86400
        if left:
            fine = min(left.values()) >= self.certificate_days
            yield "certificates", fine, ", ".join(f"{name} {days} days" for name, days in left.items())

    def database(self):
        code, output = run("runuser", "-u", "postgres", "--", "psql", "-XAtqc", ASK_DATABASE)
        yield "database", code == 0, brief(output)

    def front_door(self, domain):
        """A connection as a browser makes it."""
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=Path(self.tls_dir, "ca.pem").read_text())
        return DirectHTTPSConnection(domain, self.address, context, 10)

    def site(self, app, domain, redirected, title):
        """Through the front door."""
        connection = self.front_door(domain)
        started = time.monotonic()
        path = "/" if redirected else app["health"]["path"]
        connection.request("GET", path, headers={"Host": domain, "User-Agent": "appliance-verify"})
        answer = connection.getresponse()
        target = answer.getheader("Location", "")
        expires = ssl.cert_time_to_seconds(connection.sock.getpeercert()["notAfter"]) if connection.sock else None
        answer.read()
        said = f"{answer.status} {target}".strip()
        fine = answer.status in (301, 308) if redirected else answer.status in app["health"]["status"]
        detail = f"{said} from {path} in {(time.monotonic() - started) * 1000:.0f} ms"
        if expires and expires - time.time() < self.certificate_days * 86400:
            fine, detail = False, f"{detail}, but the certificate that is served expires in {int(expires - time.time()) // 86400} days"
        yield title, fine, detail

    def page_cache(self, app):
        """A page asked for again comes from the cache; once more, should it have changed in between."""
        domain, path, said = app["domains"][0], app["cache"]["path"], []
        for _ in range(4):
            connection = self.front_door(domain)
            started = time.monotonic()
            connection.request("GET", path, headers={"Host": domain, "User-Agent": "appliance-verify"})
            answer = connection.getresponse()
            answer.read()
            took = (time.monotonic() - started) * 1000
            said.append(answer.getheader("X-Cache", "no X-Cache"))
            if answer.status != 200:
                yield f"{app['name']} page cache", None, f"not tried: {path} answers {answer.status}"
                return
            if said[-1] == "HIT":
                break
        yield f"{app['name']} page cache", said[-1] == "HIT", f"{', then '.join(said)} for {path}, in {took:.0f} ms"

    def feed(self, app):
        """Without it gateways keep pages for less than a second."""
        connection = UnixHTTPConnection(f"/run/{app['name']}/feed.sock", 10)
        started = time.monotonic()
        connection.request("GET", "/changes?since=", headers={"Host": app["domains"][0], "User-Agent": "appliance-verify"})
        answer = connection.getresponse()
        body = answer.read()
        told = json.loads(body) if answer.status == 200 else {}
        detail = f"{answer.status} in {(time.monotonic() - started) * 1000:.0f} ms"
        fine = bool(told.get("content")) and (bool(told.get("epoch")) or app["cache"]["mode"] == "ttl")
        detail += (
            f", content {told['content'][:12]}, {len(told['changes'])} changes" if told else f": {brief(body.decode(errors='replace'))}"
        )
        yield f"{app['name']} feed", fine, detail

    def memcached_instance(self, instance):
        """By its socket as root, or by TLS with the user's password that is on the host."""
        name, place = f"memcached {instance['name']}", {"socket": f"/run/memcached-{instance['name']}/memcached.sock"}
        user = password = ""
        if instance.get("listen"):
            place = {"host": instance["listen"][0], "port": instance["port"], "ca": str(Path(self.tls_dir, "ca.pem"))}
            user, _, password = Path(f"/etc/appliance/memcached-{instance['name']}.users").read_text().strip().partition(":")
        answer = ask_memcached(self.connect(place), user, password)
        yield name, answer.startswith("VERSION"), f"{answer} at {place.get('socket') or place['host']}"

    def store_of_pages(self):
        """As the gateways reach it."""
        place, password = self.store, Path("/etc/nginx/gateway-store-password").read_text().strip()
        link, where = self.connect(place), place.get("socket") or place["host"]
        if place["backend"] == "memcached":
            answer, good = ask_memcached(link, "gateway" if place.get("host") else "", password), "VERSION"
        else:
            answer, good = ask_redis(link, ["AUTH", "gateway", password], ["GET", "pages:verify"]), "$-1"
        yield "store of pages", answer.startswith(good), f"{answer.replace('$-1', 'answers')} at {where}"

    @staticmethod
    def connect(place):
        """A socket, or TLS that is checked."""
        if place.get("socket"):
            return unix_socket(place["socket"], 5)
        link = socket.create_connection((place["host"], int(place["port"])), 5)
        return ssl.create_default_context(cafile=place["ca"]).wrap_socket(link, server_hostname=place.get("server_name") or place["host"])

    def app_socket(self, app):
        connection = UnixHTTPConnection(f"/run/{app['name']}/{app['name']}.sock", 10)
        started = time.monotonic()
        headers = {"Host": app["domains"][0], "X-Forwarded-Proto": "https", "User-Agent": "appliance-verify"}
        connection.request("GET", app["health"]["path"], headers=headers)
        answer = connection.getresponse()
        answer.read()
        detail = f"{answer.status} from {app['health']['path']} in {(time.monotonic() - started) * 1000:.0f} ms"
        yield f"{app['name']} on its socket", answer.status in app["health"]["status"], detail

    def app_database(self, app):
        """Asked of the app itself, since only its own settings tell how it reaches its database."""
        name = app["name"]
        code, output = run(f"{name}-manage", "shell", "-c", ASK_APP)
        told = re.findall(r"^verify (\{.*\})$", output, re.MULTILINE)
        answer = json.loads(told[-1]) if told else {"error": brief(output) if code else "manage.py shell said nothing"}
        if answer.get("engine", "postgresql") != "postgresql":
            yield f"{name} database", None, f"the project has its own ({answer['engine']}), which was not tried"
            return
        if "user" not in answer:
            yield f"{name} database", False, brief(answer["error"])
            yield f"{name} migrations", False, "not known without the database"
            return
        wanted = app["sslmode"]
        fine = answer["tls"] and answer["sslmode"] == wanted
        how = f"{answer['version']}, {answer['sslmode']}" if answer["tls"] else "without TLS"
        detail = f"{answer['user']}@{answer['host']}, {how}" + ("" if fine else f", but it must be TLS with {wanted}")
        yield f"{name} database", bool(fine), detail
        migrated = answer.get("migrated")
        words = {True: "all applied", False: f"some are not applied; see {name}-manage showmigrations"}
        yield f"{name} migrations", bool(migrated), words.get(migrated) or brief(answer["error"])

    def app_companions(self, app):
        """Those of the serving release, each of them at work, and no others."""
        code, output = run("appliance-release", "status", app["name"])
        if code:
            yield f"{app['name']} workers and timers", False, brief(output)
            return
        told = json.loads(output)
        found = f"{len(told.get('workers', []))} workers and {len(told.get('timers', []))} timers of release {told['current']}"
        wrong = told.get("out_of_step", ["no release serves"])
        yield f"{app['name']} workers and timers", not wrong, "; ".join(wrong) or found

    def app_redis(self, app):
        """With the very credentials in the app's environment, whatever the variable is called there."""
        text = Path(f"/etc/appliance/apps/{app['name']}/environment").read_text()
        urls = sorted(set(re.findall(r"""\b(?:unix|rediss?)://[^\s"']*:[^\s"']*@[^\s"']+""", text)))
        if not urls:
            yield f"{app['name']} redis", None, "no Redis URL in the app's environment, so it was not tried"
        for url in urls:
            parts = urlsplit(url)
            where = parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
            answer = self.ping(parts, user, password)
            yield f"{app['name']} redis", answer == "+PONG", f"{answer.lstrip('+')} at {where} as {user}"

    @staticmethod
    def ping(parts, user, password):
        """Sign in and send PING; the last thing Redis said."""
        if parts.scheme == "unix":
            link = unix_socket(parts.path, 5)
        else:
            link = socket.create_connection((parts.hostname, parts.port or 6379), 5)
            if parts.scheme == "rediss":
                context = ssl.create_default_context(cafile=parse_qs(parts.query).get("ssl_ca_certs", [None])[0])
                link = context.wrap_socket(link, server_hostname=parts.hostname)
        return ask_redis(link, ["AUTH", user, password], ["PING"])


def ask_redis(link, *commands):
    """Send commands; the last thing Redis said, or the first that is a refusal."""
    with link, link.makefile("rwb") as stream:
        for words in commands:
            parcels = b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
            stream.write(b"*%d\r\n%s" % (len(words), parcels))
            stream.flush()
            answer = stream.readline().decode().strip()
            if not answer or answer.startswith("-"):
                break
    return answer or "no answer"


def ask_memcached(link, user, password):
    """Its version, after user and password where it wants them."""
    with link, link.makefile("rwb") as stream:
        if user:
            said = f"{user} {password}".encode()
            stream.write(b"set auth 0 0 %d\r\n%s\r\n" % (len(said), said))
            stream.flush()
            answer = stream.readline().decode().strip()
            if answer != "STORED":
                return answer or "no answer"
        stream.write(b"version\r\n")
        stream.flush()
        return stream.readline().decode().strip() or "no answer"


def rows_of(check):
    """Rows of one check; one that breaks is a row as well."""
    name, function = check
    try:
        return [{"check": row[0], "ok": row[1], "detail": row[2]} for row in function()]
    except Exception as error:  # whatever it is, the other checks go on
        reason = f"{error.filename}: {error.strerror}" if getattr(error, "filename", None) else f"{type(error).__name__}: {error}"
        return [{"check": name, "ok": False, "detail": brief(reason)}]


def main():
    """Run the module."""
    text, number, names = {"type": "str", "required": True}, {"type": "int", "required": True}, {"type": "list", "required": True}
    module = AnsibleModule(
        argument_spec={
            "boxes": {**names, "elements": "str"},
            "apps": {**names, "elements": "dict"},
            "memcached": {"type": "list", "elements": "dict", "default": []},
            "store": {"type": "dict", "default": {}},
            "address": text,
            "certificates": {**names, "elements": "str"},
            "tls_dir": {"type": "path", "required": True},
            "certificate_days": number,
            "disk_percent": number,
            "memory_percent": number,
            "ignored_units": {**names, "elements": "str"},
            "asked_at": {"type": "float", "required": True},
        },
        supports_check_mode=True,
    )
    found = {"listeners": listeners(), "addresses": addresses()}
    checks = list(Checks(module.params).all())
    with ThreadPoolExecutor(max_workers=8) as pool:
        found["rows"] = [row for rows in pool.map(rows_of, checks) for row in rows]
    module.exit_json(changed=False, clock=time.time(), asked_at=module.params["asked_at"], **found)


if __name__ == "__main__":
    main()
