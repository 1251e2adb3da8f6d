"""A run that is killed anywhere is repaired by the next one, and the one after that has nothing to do."""

from __future__ import annotations

import shutil

import pytest
import yaml
from site_in_lab import ROOT, changes


@pytest.fixture(scope="module")
def site(raise_site, copy_of):
    """Fresh machines for a monolith that we may change."""
    return raise_site(copy_of("inventories/monolith", "killed"))


def settled(site):
    """Two runs: the first must succeed, the second must change nothing."""
    site.play()
    again = site.play()
    assert set(changes(again).values()) == {0}, again.stdout[-4000:]


def test_first_run_killed_at_five_moments(site):
    """The moments fall into package installs, the firewall, the database and the app's release."""
    for task, seconds in (
        ("packages | Install the packages", 3),
        ("apply | Arm the revert", 0),
        ("install | Install PostgreSQL", 5),
        ("release | Make the release", 8),
        ("install | Install nginx", 2),
    ):
        assert site.play_killed(task, seconds), f"{task} was over before {seconds} s"
    settled(site)
    assert site.get("shop.example.test").status == 200


def test_half_configured_package_is_repaired(site):
    """dpkg leaves this behind when the power goes during an install."""
    site.on("web1", "cd /tmp && apt-get download -qq logrotate && dpkg --unpack logrotate_*.deb")
    assert "logrotate" in site.on("web1", "dpkg --audit")
    settled(site)
    assert "logrotate" not in site.on("web1", "dpkg --audit")


def test_run_that_changes_a_requirement_and_a_template_killed_at_five_moments(site, tmp_path_factory):
    """A release is built under the feet of the one that serves; the killed build must leave that one alone."""
    project = tmp_path_factory.mktemp("changed") / "django_app"
    shutil.copytree(ROOT / "django_app", project)
    apps = site.inventory / "group_vars/all/main.yml"
    variables = yaml.safe_load(apps.read_text())
    variables["appliance_apps"]["shop"]["source"]["path"] = str(project)
    variables["appliance_apps"]["shop"]["requirements_extra"].append("django-extensions==4.1")
    apps.write_text(yaml.safe_dump(variables))
    template = next(path for path in (project / "templates/django").rglob("*.html") if "</body>" in path.read_text())
    original = template.read_text()
    for number, (task, seconds) in enumerate(
        (
            ("configure | Install the release tool", 0),
            ("release | Copy the source", 0),
            ("release | Make the release", 1),
            ("release | Make the release", 3),
            ("release | Make the release", 6),
        )
    ):
        # The host's side of a killed run goes on for a while, and may well finish: give each run something new to do.
        template.write_text(original.replace("</body>", f"<!-- change {number} --></body>"))
        assert site.play_killed(task, seconds), f"{task} was over before {seconds} s"
        assert site.get("shop.example.test").status == 200
    settled(site)
    assert "<!-- change 4 -->" in site.get("shop.example.test").text
