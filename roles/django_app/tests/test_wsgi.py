"""What stands between the server and the project's application, by a small server of our own."""

import socket
import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import pytest

WRAPPER = Path(__file__).resolve().parents[1] / "files/appliance_wsgi.py"

PROJECT = """
def application(environ, start_response):
    seen.update(environ)
    start_response("200 OK", [("Content-Length", "2")] if environ["PATH_INFO"] == "/sized" else [])
    return [b"o", b"", b"k"]
seen = {}
"""

CALL = """
import sys, types
{before}
import appliance_wsgi, project
answer = {{}}
environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": "/", **{environ!r}}}
body = b"".join(appliance_wsgi.application(environ, lambda status, headers: answer.update(headers)))
print({{"body": body, "headers": answer, "seen": project.seen}})
"""

UWSGI = "sys.modules['uwsgi'] = types.SimpleNamespace(set_logvar=lambda *_: None)"


@pytest.fixture
def run(tmp_path):
    """run(environ, before, project) -> what came of one request: body, headers, seen."""

    def call(environ=None, before="", project=PROJECT, preload=""):
        (tmp_path / "project.py").write_text(project)
        (tmp_path / "appliance_wsgi.py").write_text(WRAPPER.read_text())
        variables = {"APPLIANCE_WSGI": "project:application", "APPLIANCE_PRELOAD": preload, "PYTHONPATH": str(tmp_path)}
        variables |= {"APPLIANCE_RELEASE": "r1", "APPLIANCE_CONTENT": "c1"}
        code = CALL.format(before=before, environ=environ or {})
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=variables)
        return literal_eval(done.stdout) if done.returncode == 0 else done.stderr

    return call


@pytest.mark.parametrize("server", ["", UWSGI])
def test_only_a_probe_is_told_the_release(run, server):
    """It is nobody else's affair."""
    told = run({"HTTP_X_APPLIANCE_PROBE": "1", "PATH_INFO": "/sized"}, server)["headers"]
    assert told == {"Content-Length": "2", "X-Appliance-Release": "r1", "X-Appliance-Content": "c1"}
    assert run({"PATH_INFO": "/sized"}, server)["headers"] == {"Content-Length": "2"}


@pytest.mark.parametrize("server", ["", UWSGI])
def test_the_client_is_the_one_that_nginx_saw(run, server):
    """uWSGI says 0.0.0.0 and Gunicorn nothing where the client came by a unix socket."""
    nobody = "0.0.0.0"  # noqa: S104
    seen = run({"REMOTE_ADDR": nobody, "HTTP_X_FORWARDED_FOR": "198.51.100.7", "HTTP_X_FORWARDED_PROTO": "https"}, server)["seen"]
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == ("198.51.100.7", "https")


def test_a_line_break_in_a_path_makes_no_line_in_the_log(run):
    """Else a visitor could write log lines of his own."""
    assert run({"PATH_INFO": "/a\nb \xe9"})["seen"]["appliance.path"] == "/a%0Ab%20%E9"


@pytest.mark.parametrize(
    ("environ", "body"),
    [({}, b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"), ({"PATH_INFO": "/sized"}, b"ok"), ({"REQUEST_METHOD": "HEAD"}, b"ok")],
)
def test_uwsgi_says_where_a_body_without_a_length_ends(run, environ, body):
    """A page that breaks off would look whole to nginx, and be kept by the page cache."""
    answer = run(environ, UWSGI)
    assert answer["body"] == body
    assert ("Transfer-Encoding" in answer["headers"]) is (b"0\r\n" in body)


def test_a_connection_made_at_import_refuses_preload_alone(run):
    """Processes that share a connection read each other's answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        project = f"import socket; kept = socket.create_connection({server.getsockname()})\n{PROJECT}"
        assert run(project=project)["body"] == b"ok"
        said = run(project=project, preload="1")
    assert "set preload: false for this app" in said
    assert run(preload="1")["body"] == b"ok"
