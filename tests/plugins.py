"""Plugins and modules of our roles, imported as Ansible does: by their path."""

import importlib.util

import ansible.module_utils


def load_module(path):
    """Import a plugin by its path, as Ansible does; a module finds the module_utils of its role."""
    utilities = str(path.parents[1] / "module_utils")
    if utilities not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(utilities)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
