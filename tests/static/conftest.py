"""Static checks: no host, no network, seconds."""

from pathlib import Path

import pytest
import yaml
from plugins import load_module

ROOT = Path(__file__).resolve().parents[2]


def load_yaml(path):
    """Parse a YAML file that may carry vault or unsafe tags."""
    return yaml.safe_load(Path(path).read_text())


@pytest.fixture(scope="session")
def root():
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def drawing():
    """The filters that read the drawing."""
    return load_module(ROOT / "roles/appliance/filter_plugins/appliance.py")


class Renderer:
    """Renders a role's template offline, with Ansible's own templar over the role's real defaults."""

    def __init__(self):
        from ansible.parsing.dataloader import DataLoader
        from ansible.plugins.loader import init_plugin_loader

        init_plugin_loader()
        self.loader = DataLoader()
        self.loader.set_basedir(str(ROOT))

    def variables(self, role, extra):
        """A role's defaults and vars, then those of the test."""
        merged = {"ansible_managed": "Ansible managed", "inventory_hostname": "host1", "role_path": str(ROOT / "roles" / role)}
        for kind in ("defaults", "vars"):
            path = ROOT / "roles" / role / kind / "main.yml"
            if path.exists():
                merged.update(self.loader.load_from_file(str(path), trusted_as_template=True) or {})
        return {**merged, **extra}

    def __call__(self, role, template, **extra):
        """Return the text that the template would be on a host."""
        from ansible.template import Templar, trust_as_template

        folder = ROOT / "roles" / role / "templates"
        templar = Templar(self.loader, variables=self.variables(role, extra)).copy_with_new_env(searchpath=[str(folder)])
        text = trust_as_template((folder / template).read_text())
        return str(templar.template(text, escape_backslashes=False))


@pytest.fixture(scope="session")
def render():
    """render(role, template, **variables) -> text."""
    return Renderer()
