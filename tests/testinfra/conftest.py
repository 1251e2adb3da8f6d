"""Layer by layer, asked on the hosts themselves."""

from __future__ import annotations

import pytest
import testinfra
from site_in_lab import Site

SITE = Site.under_test()


@pytest.fixture(scope="session")
def site():
    """The site under test."""
    return SITE


class Machine:
    """One host of the site."""

    def __init__(self, name):
        self.name = name

    @property
    def variables(self):
        """Its variables in the inventory."""
        return SITE.variables(self.name)

    def run(self, command, **options):
        """Run a shell command as root; what it says, without the last newline."""
        return SITE.on(self.name, command, **options).strip()

    @property
    def host(self):
        """The machine as testinfra sees it, over SSH as root."""
        variables = self.variables
        return testinfra.get_host(
            f"ssh://{variables['ansible_user']}@{variables['ansible_host']}:{variables.get('ansible_port', 22)}",
            ssh_identity_file=variables["ansible_ssh_private_key_file"],
            ssh_extra_args=variables["ansible_ssh_common_args"],
            sudo=True,
        )


MACHINES = [Machine(path.stem) for path in sorted(SITE.overlay.glob("host_vars/*.yml"))]


@pytest.fixture(scope="session", params=MACHINES, ids=lambda machine: machine.name)
def machine(request):
    """Every host of the site in turn."""
    return request.param


@pytest.fixture(scope="session")
def host(machine):
    """testinfra's host, every one of the site in turn. It stands in place of the plugin's own, which would ask Ansible each time."""
    return machine.host


@pytest.fixture(scope="session")
def neighbour(machine):
    """Another host of the site."""
    others = [one for one in MACHINES if one is not machine]
    return others[0] if others else pytest.skip("this drawing has one host")


@pytest.fixture(scope="session")
def any_machine():
    """One host, for what takes long and is the same on all."""
    return MACHINES[0]


@pytest.fixture(scope="session")
def secrets(site):
    """Every secret the control node holds for this site, by name."""
    return {
        path.name: path.read_text().strip()
        for path in site.secrets.iterdir()
        if path.is_file() and not path.name.endswith((".crt", ".lock"))
    }
