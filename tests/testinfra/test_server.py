"""What the app's server does the same whichever it is: Gunicorn or uWSGI."""

from __future__ import annotations

import json
import re
import uuid

APP = "web1"
ASK = """
import http.client, json, socket, sys
asked = json.loads(sys.argv[1])
connection = http.client.HTTPConnection("localhost", timeout=20)
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.settimeout(20)
connection.sock.connect("/run/shop/shop.sock")
connection.request("GET", asked["path"], headers=asked["headers"])
answer = connection.getresponse()
answer.read()
print(json.dumps([answer.status, {name.lower(): value for name, value in answer.getheaders()}]))
"""


def ask(site, path="/healthz", **headers):
    """Ask the app's socket, as nginx does: status and headers."""
    headers = {"Host": "shop.example.test", "X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.9", **headers}
    asked = json.dumps({"path": path, "headers": headers})
    return json.loads(site.on(APP, f"cat > /run/ask.py && python3 /run/ask.py '{asked}'; rm /run/ask.py", input=ASK))


def test_a_probe_alone_is_told_what_answers(site):
    """The release tool and the page cache rely on it; a visitor has no use for it."""
    _, told = ask(site, **{"X-Appliance-Probe": "1"})
    assert told["x-appliance-release"] == site.on(APP, "basename $(readlink /srv/shop/current)").strip()
    assert re.fullmatch(r"[0-9a-f]{12}", told["x-appliance-content"])
    _, headers = ask(site)
    assert not [name for name in headers if name.startswith("x-appliance")]


def test_log_has_client_and_request_id_but_no_query(site):
    """A query may hold a token; the id finds the request in nginx's log. A line break in a path makes no second line."""
    number = uuid.uuid4().hex
    ask(site, "/nowhere/%0Aa/?token=s3cret", **{"X-Request-ID": number})
    lines = site.on(APP, f"sleep 1; journalctl -t shop --since -1min -o cat --no-pager | grep -aF {number}").splitlines()
    access = [line for line in lines if '"GET /nowhere/%0Aa/" 404' in line]
    assert len(access) == 1
    assert access[0].startswith("198.51.100.9 ")
    assert "s3cret" not in "".join(lines)
