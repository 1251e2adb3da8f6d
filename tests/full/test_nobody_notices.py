"""Day two as a whole, under visitors who read, write and wait: of 20,000 requests none fails, with either server."""

from __future__ import annotations

import re

import pytest
import yaml
from site_in_lab import ROOT
from test_releases import BROKEN, Project, deploy, failing_migration
from visitors import PATIENT, Load

SLOW = "slow.example.test"
REQUESTS = 20_000


@pytest.fixture(scope="module", params=["gunicorn", "uwsgi"])
def site(request, raise_site, copy_of, tmp_path_factory):
    """The monolith with a project that we may change, and an app whose pages take two seconds."""
    site = raise_site(copy_of("inventories/monolith", f"notice-{request.param}", {"group_vars/all/patient.yml": PATIENT}))
    site.project = Project(tmp_path_factory.mktemp("project") / "django_app", site)
    site.project.restore()
    site.project.ask(source={"path": str(site.project.folder)}, health={"seconds": 60}, server=request.param)
    slow = yaml.safe_load((ROOT / "tests/inventories/cached/group_vars/all/main.yml").read_text())["appliance_apps"]["mirror"]
    variables = yaml.safe_load(site.project.inventory.read_text())
    slow = {key: value for key, value in slow.items() if key not in ("cache", "redis")}
    slow |= {"source": {"path": str(ROOT / "tests/projects/mirror")}, "domains": [SLOW], "server": request.param}
    variables["appliance_apps"]["slow"] = slow
    site.project.inventory.write_text(yaml.safe_dump(variables))
    site.play()
    yield site
    site.down()


def broken(site, number):
    """A release that cannot serve; the project is as before afterwards."""
    contract = site.project.inventory.read_text()
    site.project.change()
    BROKEN[number](site.project)
    done = deploy(site, check=False)
    site.project.inventory.write_text(contract)
    site.project.restore()
    assert done.returncode != 0, BROKEN[number].__name__


def good(site):
    site.project.change()
    deploy(site, "-e", "appliance_deploy=shop")
    assert site.project.served() == site.project.number


def serials(site):
    return site.on("web1", "openssl x509 -noout -serial -in /etc/appliance/tls/shop/fullchain.pem")


def test_of_20000_requests_none_fails(site):
    """Good releases, broken ones, ways back, workers that start anew, another certificate, another configuration of nginx."""
    assert failing_migration in BROKEN
    certificate = serials(site)
    with Load(site, times=2, pause=0.05, slow=SLOW, again=True) as load:
        for number in range(10):
            good(site)
            if number < len(BROKEN):
                broken(site, number)
                site.project.number -= 1
            if number in (3, 7):
                site.play("playbooks/rollback.yml", "-e", "appliance_deploy=shop")
            if number == 5:
                site.on("web1", "systemctl kill --signal=HUP --kill-whom=main 'shop@*'")
            if number == 6:
                with site.told({"certificates_renew_days": 400}):
                    site.play("site.yml", "--tags", "certificates,gateway")
                assert serials(site) != certificate
            if number == 8:
                with site.told({"gateway_headers": {"X-Of-The-Test": "1"}}):
                    site.play("site.yml", "--tags", "gateway")
        load.pass_by(REQUESTS - load.answers, 600)
    assert load.failures == []
    assert load.answers >= REQUESTS
    script = "from catalog.models import Review; print('rows', Review.objects.filter(name='under load').count())"
    rows = int(re.search(r"rows (\d+)", site.on("web1", f'shop-manage shell -c "{script}"'))[1])
    assert rows == load.written > 1000, "every acknowledged review is there, once"
