"""Static checks: no host, no network, seconds."""

import importlib.util
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def load_module(path):
    """Import a plugin by its path, as Ansible does."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
