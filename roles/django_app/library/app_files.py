#!/usr/bin/python
"""All small files of an app in one task: each task of its own costs a deploy half a second."""

from __future__ import annotations

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: app_files
short_description: Write files of root's
description:
  - Each is replaced at once, when it differs in content, owner or mode. Folders that are missing are made.
options:
  files:
    description: Content by path; everybody may read them.
    type: dict
    default: {}
  programs:
    description: Likewise, and run them.
    type: dict
    default: {}
  secrets:
    description: Likewise, but only root may read them; neither shown nor compared in a diff.
    type: dict
    default: {}
  look_for:
    description: Paths to look for.
    type: list
    elements: path
    default: []
author: Django Appliance
"""

EXAMPLES = r"""
- name: Install the unit
  app_files:
    files: {/etc/systemd/system/shop.socket: "{{ lookup('ansible.builtin.template', 'app.socket.j2') }}"}
"""

RETURN = r"""
changed_files:
  description: Paths that were written, or would be.
  type: list
  returned: success
found:
  description: Which of look_for exist.
  type: list
  returned: success
"""


def state_of(path):
    """Content and rights of a file; nothing where there is none, or something else."""
    if os.path.islink(path) or not os.path.isfile(path):
        return None, None
    info = os.stat(path)
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "replace"), (info.st_uid, info.st_gid, info.st_mode & 0o7777)


def main():
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "dict", "default": {}},
            "programs": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "look_for": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    written, diff = [], []
    for kind, mode in (("files", 0o644), ("programs", 0o755), ("secrets", 0o600)):
        for path, content in module.params[kind].items():
            before, rights = state_of(path)
            if before == content and rights == (0, 0, mode):
                continue
            written.append(path)
            if kind != "secrets":
                diff.append({"before_header": path, "after_header": path, "before": before or "", "after": content})
            if module.check_mode:
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=".appliance-", dir=os.path.dirname(path))
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(content)
            os.chmod(temporary, mode)
            os.replace(temporary, path)
    found = [path for path in module.params["look_for"] if os.path.exists(path)]
    module.exit_json(changed=bool(written), changed_files=written, found=found, diff=diff)


if __name__ == "__main__":
    main()
