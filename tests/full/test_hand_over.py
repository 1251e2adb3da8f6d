"""No request is lost when a release, or the server itself, changes under load; with either server."""

from __future__ import annotations

import contextlib
import re

import pytest
import yaml
from visitors import DOMAIN, PATIENT, Load


@pytest.fixture(scope="module")
def site(raise_site, copy_of):
    """A monolith that we may change, raised with Gunicorn."""
    site = raise_site(copy_of("inventories/monolith", "handover", {"group_vars/all/patient.yml": PATIENT}))
    site.play()
    return site


def serve_with(site, server, title):
    """What an operator does: change the contract, run the playbook."""
    file = site.inventory / "group_vars/all/main.yml"
    variables = yaml.safe_load(file.read_text())
    variables["appliance_apps"]["shop"].update(server=server, env={"MARK_OF_THE_TEST": title}, health={"seconds": 120})
    file.write_text(yaml.safe_dump(variables))
    site.play("site.yml", "--tags", "django_app")
    name = {"gunicorn": "gunicorn", "uwsgi": "uwsgi-core"}[server]
    assert name in site.on("web1", "ps -o args= -u shop"), f"{server} does not serve"


def reviews(site):
    """How many of the reviews are in the database."""
    script = "from catalog.models import Review; print('rows', Review.objects.filter(name='under load').count())"
    return int(re.search(r"rows (\d+)", site.on("web1", f'shop-manage shell -c "{script}"'))[1])


def test_changes_of_release_and_server_lose_no_request(site):
    """Both ways between the servers, and a new release of each; every acknowledged review is there, once."""
    with Load(site) as load:
        for server, title in (("uwsgi", "a"), ("uwsgi", "b"), ("gunicorn", "b"), ("gunicorn", "c")):
            serve_with(site, server, title)
            load.pass_by(100)
    assert load.failures == []
    assert load.answers > 2000
    assert reviews(site) == load.written > 300


@pytest.mark.parametrize("server", ["gunicorn", "uwsgi"])
def test_twin_a_server_that_is_just_restarted_loses_requests(site, server):
    """The load above would notice: without a second instance on a socket that stays, requests fail."""
    serve_with(site, server, "twin")
    with Load(site) as load:
        for _ in range(3):
            with contextlib.suppress(AssertionError):  # the socket may be asked for while it is being stopped
                site.on("web1", "systemctl restart shop.socket 'shop@*.service'")
            load.pass_by(100)
    assert load.failures
    site.wait_for(DOMAIN, "/readyz")
