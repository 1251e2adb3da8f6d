"""Plugins and modules of our roles, imported as Ansible does: by their path."""

import importlib.util


def load_module(path):
    """Import a plugin by its path, as Ansible does."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
