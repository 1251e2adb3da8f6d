"""Runs inside the lab's network, as somebody outside: `load.py PLAN` measures all targets round by round.

Standard library only. PLAN is a JSON file (see cli.py); each sample is printed as a line of JSON.
"""

import http.client
import io
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlencode

HERE = Path(__file__).resolve().parent
PATIENCE_SECONDS = 10
STAMPEDE_SECONDS = 60
WRITERS = 5
# What a browser of today says.
BROWSER = {"Accept": "text/html,*/*;q=0.8", "Accept-Encoding": "gzip, deflate, br, zstd", "User-Agent": "bench"}
# A cookie that no page cache knows, so that the page is rendered.
PASS_BY = {"Cookie": "bench=1"}
FIELDS = {"rating": "4", "name": "bench", "text": "Written by the benchmark, and deleted by it."}


class Unusable(Exception):
    """The answers are not those that were to be measured."""


class Door:
    """One HTTPS port: where it is, and what it calls itself."""

    def __init__(self, address, port, name, public, ca):
        self.address, self.port, self.name, self.public = address, port, name, public
        self.context = ssl.create_default_context(cafile=ca)

    @property
    def authority(self):
        """As a browser says it in Host, Origin and Referer."""
        return self.name if self.public == 443 else f"{self.name}:{self.public}"

    def connection(self):
        """A connection whose name is checked, to that address."""
        connection = http.client.HTTPSConnection(self.name, self.public, timeout=PATIENCE_SECONDS)
        plain = socket.create_connection((self.address, self.port), PATIENCE_SECONDS)
        connection.sock = self.context.wrap_socket(plain, server_hostname=self.name)
        return connection


class Counted(io.RawIOBase):
    """A connection's receiving side that counts, so that the size of a whole answer is known."""

    def __init__(self, sock):
        super().__init__()
        self.sock, self.size = sock, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        size = self.sock.recv_into(buffer)
        self.size += size
        return size


def fetch(door, path, headers=None, method="GET", body=None):
    """(status, headers, body, bytes on the wire within TLS) of one answer."""
    with closing(door.connection()) as connection:
        connection.request(method, path, body, {"Host": door.authority, **BROWSER, **(headers or {})})
        counted = Counted(connection.sock)
        response = http.client.HTTPResponse(connection.sock, method=method)
        response.fp = io.BufferedReader(counted)
        response.begin()
        content = response.read()
        return response.status, response.headers, content, counted.size


def open_form(door, path):
    """Headers and body of a review's form, as a browser sends it; the token is good for many."""
    status, headers, page, _ = fetch(door, path, {"Accept-Encoding": "identity"})
    token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    cookie = re.search(r"(\w+)=[^;]+", headers.get("Set-Cookie", ""))
    if status != 200 or not token or not cookie:
        raise Unusable(f"{path} of {door.authority} has no form: status {status}")
    page = f"https://{door.authority}{path}"
    sent = {
        "Cookie": cookie[0],
        "Referer": page,
        "Origin": f"https://{door.authority}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return sent, urlencode({"csrfmiddlewaretoken": token[1].decode(), **FIELDS})


class Target:
    """What is asked for again and again."""

    def __init__(self, plan, name, spec):
        self.name, self.spec = name, spec
        self.path, self.method, self.body = spec["path"], "GET", None
        self.door = Door(plan["address"], spec.get("port", 443), spec["domain"], spec.get("public", plan["public_port"]), plan["ca"])
        self.headers = {**BROWSER, **(PASS_BY if spec.get("pass_by") else {})}
        self.status = 200

    def prepare(self):
        """Make sure that the answer is the one to be measured, cached where it has to be; its size on the wire."""
        if self.spec.get("write"):
            form, self.body = open_form(self.door, self.path)
            self.headers.update(form)
            self.method, self.status = "POST", 302
        for _ in range(20):
            status, headers, content, size = fetch(self.door, self.path, self.headers, self.method, self.body)
            wanted, cache = self.spec.get("cache"), headers.get("X-Cache")
            if status == self.status and (not wanted or cache == wanted):
                break
            time.sleep(0.1)
        else:
            seen = f"https://{self.door.authority}{self.path} answers {status}, X-Cache {cache}"
            raise Unusable(f"{self.name}: {seen}; wanted {self.status}, {wanted}")
        if self.spec.get("length", len(content)) != len(content):
            raise Unusable(f"{self.name}: {len(content)} bytes instead of {self.spec['length']}")
        return size

    def load(self, seconds, connections):
        """Run wrk once."""
        environment = {**os.environ, "BENCH_ADDRESS": self.door.address, "BENCH_METHOD": self.method}
        if self.method != "GET":
            environment |= {"BENCH_BODY": self.body, "BENCH_STATUS": str(self.status)}
        port = self.door.port
        headers = {"Host": self.door.authority, **self.headers}
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={PATIENCE_SECONDS}s", f"--script={HERE / 'wrk.lua'}"]
        command += [f"--header={key}: {value}" for key, value in headers.items()]
        command += [f"https://{self.door.name}:{port}{self.path}"]
        done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=seconds + 60)
        if done.returncode:
            raise Unusable(f"{self.name}: wrk failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
        return parse_wrk(done.stdout)


def parse_wrk(text):
    """The figures that wrk.lua prints last."""
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        raise Unusable(f"wrk said nothing of use: {text.strip()[-300:]}")
    return json.loads(lines[-1])


def check(name, seen, size):
    """Refuse figures of anything but whole, right answers. The last request of each connection may have been cut off."""
    errors = {key: seen[key] for key in ("connect", "read", "write", "timeout", "status") if seen[key]}
    if errors:
        raise Unusable(f"{name}: wrk counted errors: {errors}")
    if not seen["requests"]:
        raise Unusable(f"{name}: no request was answered")
    mean = seen["bytes"] / seen["requests"]
    if abs(mean - size) > 0.1 * size + 100:
        raise Unusable(f"{name}: answers had {mean:.0f} bytes on the average, and the page has {size}")


def cpu_us(path):
    """CPU that a machine has used since it started, in microseconds; `path` as of cpu_file."""
    text = Path(path).read_text()
    if path.endswith("cpuacct.usage"):
        return int(text) / 1000
    return int(re.search(r"^usage_usec (\d+)$", text, re.M)[1])


class Lab:
    """What has to be done on hosts meanwhile."""

    def __init__(self, plan):
        self.plan = plan

    def on(self, host, *command, text=""):
        """Run a command on a host, as root."""
        lab = [*self.plan["lab"], "exec", self.plan["name"], "--on", host, *command]
        done = subprocess.run(lab, text=True, capture_output=True, input=text, timeout=60)
        if done.returncode:
            raise Unusable(f"{' '.join(command)} failed on {host}: {done.stderr.strip()}")
        return done.stdout

    def sql(self, database, text, **variables):
        """Run SQL as PostgreSQL's own user."""
        settings = [f"--set={name}={value}" for name, value in {"ON_ERROR_STOP": 1, **variables}.items()]
        psql = ["runuser", "-u", "postgres", "--", "psql", "-X", *settings, database]
        return self.on(self.plan["database_host"], *psql, text=text)

    def forget_reviews(self, database):
        """Delete what was written, so that pages stay as they were; how many there were."""
        said = self.sql(database, "DELETE FROM catalog_review WHERE name = 'bench'; VACUUM ANALYZE catalog_review;")
        return int(re.search(r"DELETE (\d+)", said)[1])

    def touch_product(self, database, path):
        """Have caches forget a product's page."""
        said = self.sql(database, "UPDATE catalog_product SET stock = stock WHERE slug = :'slug';", slug=path.split("/")[2])
        if "UPDATE 1" not in said:
            raise Unusable(f"there is no product of {path}: {said}")
        time.sleep(1.5)

    def renders(self, app, path, since):
        """How many requests for a path the app has answered itself, by its own log."""
        time.sleep(0.5)
        log = self.on(self.plan["app_host"], "journalctl", "-q", "-o", "cat", "-t", app, "--since", f"@{since:.6f}")
        return log.count(f"GET {path}")


@contextmanager
def writing(target, per_second):
    """People who write so many reviews a second meanwhile: one each, at its time, even if others still wait for their answers."""
    if not per_second:
        yield lambda: 0
        return
    headers, body = open_form(target.door, target.spec["write_path"])
    stop, written, failed, turns = threading.Event(), [], [], itertools.count()
    began = time.monotonic()

    def work():
        try:
            with closing(target.door.connection()) as connection:
                while not stop.wait(max(0, began + next(turns) / per_second - time.monotonic())):
                    connection.request("POST", target.spec["write_path"], body, {"Host": target.door.authority, **BROWSER, **headers})
                    response = connection.getresponse()
                    response.read()
                    (written if response.status == 302 else failed).append(response.status)
        except (OSError, http.client.HTTPException) as error:
            failed.append(repr(error))

    writers = [threading.Thread(target=work) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        yield lambda: len(written)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    if failed:
        raise Unusable(f"{target.name}: a review was answered {failed[0]}")


def sample(lab, target, seconds, connections):
    """One sample of one target: figures of wrk, and CPU per request of the hosts."""
    plan, spec = lab.plan, target.spec
    size = target.prepare()
    # A computer with much else to do may not answer a single request in time: once more, longer.
    for length in (seconds, 5 * seconds):
        if spec.get("write"):
            lab.forget_reviews(spec["database"])
        with writing(target, spec.get("writes_per_second")) as written:
            before = {host: cpu_us(path) for host, path in plan["cpu"].items()}
            seen = target.load(length, connections)
            after = {host: cpu_us(path) for host, path in plan["cpu"].items()}
        if seen["requests"]:
            break
    check(target.name, seen, size)
    if spec.get("writes_per_second"):
        if written() < spec["writes_per_second"] * length / 2:
            raise Unusable(f"{target.name}: only {written()} reviews were written in {length} s")
        lab.forget_reviews(spec["database"])
    if spec.get("write"):
        found = lab.forget_reviews(spec["database"])
        if not 0 <= found - seen["requests"] <= connections:
            raise Unusable(f"{target.name}: {seen['requests']} reviews were acknowledged, {found} are in the database")
    per_request = {host: (after[host] - before[host]) / seen["requests"] for host in before}
    return {
        "target": target.name,
        "rate": seen["requests"] / seen["microseconds"] * 1e6,
        "p50_us": seen["p50_us"],
        "p99_us": seen["p99_us"],
        "cpu_us": sum(value for host, value in per_request.items() if host != plan["database_host"]),
        "database_us": per_request[plan["database_host"]],
        "bytes": size,
    }


def stampede(lab, target, path, clients):
    """So many clients ask at the same moment for a page of which there is no copy; how often it was rendered."""
    lab.touch_product(target.spec["app"], path)
    request = "".join(f"{key}: {value}\r\n" for key, value in {"Host": target.door.authority, **BROWSER, "Connection": "close"}.items())
    request = f"GET {path} HTTP/1.1\r\n{request}\r\n".encode()
    ready, answers = threading.Barrier(clients), []

    def ask():
        answer = b""
        try:
            with closing(target.door.connection()) as connection:
                connection.sock.settimeout(STAMPEDE_SECONDS)
                # An open connection may stay silent for a minute, a new one only for some seconds.
                connection.request("GET", "/robots.txt", headers={"Host": target.door.authority})
                connection.getresponse().read()
                ready.wait(STAMPEDE_SECONDS)
                connection.sock.sendall(request)
                while part := connection.sock.recv(65536):
                    answer += part
        except (OSError, threading.BrokenBarrierError) as error:
            answer = repr(error).encode()
            ready.abort()
        answers.append(answer)

    since = time.time()
    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [answer[:60] for answer in answers if not answer.startswith(b"HTTP/1.1 200 ")]
    if wrong:
        raise Unusable(f"stampede on {path}: {len(wrong)} of {clients} did not get the page, but: {set(wrong)}")
    renders = lab.renders(target.spec["app"], path, since)
    if not renders:
        raise Unusable(f"stampede on {path}: the app's log knows of no request, so there was a copy")
    return renders


def product_paths(target):
    """Paths of the products on a list."""
    status, _, content, _ = fetch(target.door, target.path, {"Accept-Encoding": "identity"})
    found = list(dict.fromkeys(re.findall(r'href="(/products/[\w-]+/)"', content.decode())))
    if status != 200 or not found:
        raise Unusable(f"{target.path} lists no products: status {status}")
    return found


def measure(plan):
    """All rounds; yields samples."""
    lab = Lab(plan)
    page = Target(plan, "page", plan["page"])
    products = product_paths(page)
    for spec in plan["targets"].values():
        # The first one stands on the page that is measured, so that a write changes that page.
        spec["path"], spec["write_path"] = spec.get("path", f"{products[0]}review/"), f"{products[0]}review/"
    targets = {name: Target(plan, name, spec) for name, spec in plan["targets"].items()}
    for target in targets.values():
        if target.spec.get("database"):
            lab.forget_reviews(target.spec["database"])
        target.prepare()
        target.load(1, plan["connections"])  # warm: each worker loads its templates with its first request
    names = list(targets)
    pages = iter(products[1:])
    for number in range(plan["rounds"]):
        # Another neighbour, and another place in the round, each time.
        turn = number * 7 % len(names)
        for name in names[turn:] + names[:turn]:
            yield {"round": number, **sample(lab, targets[name], plan["seconds"], plan["connections"])}
        if plan["stampede"]:
            path = next(pages)
            renders = stampede(lab, page, path, plan["stampede"])
            yield {"round": number, "target": "stampede_renders", "renders": renders, "path": path}


def visit(plan):
    """Look at some pages, so that every process has loaded what it needs."""
    target = Target(plan, "page", plan["page"])
    paths = [target.path, "/", "/api/products/", *product_paths(target)[:5]]
    for path in paths * (plan["visits"] // 5):
        fetch(target.door, path, PASS_BY)


def main():
    """`load.py PLAN [page|visit]`: measure; print the bytes of the page that `static` is made of; use the site for a while."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    try:
        if sys.argv[2:] == ["visit"]:
            visit(plan)
            return 0
        if sys.argv[2:] == ["page"]:
            target = Target(plan, "page", plan["page"])
            target.headers["Accept-Encoding"] = "gzip"
            target.prepare()
            sys.stdout.buffer.write(fetch(target.door, target.path, target.headers)[2])
            return 0
        for line in measure(plan):
            print(json.dumps(line), flush=True)
    except (Unusable, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
