#!/usr/bin/python
"""Ansible's side of the release tool."""

from __future__ import annotations

import json
import os
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: app_release
short_description: Make a release of an app and hand the traffic over to it
description:
  - Runs C(/usr/local/sbin/appliance-release deploy) on the host, which compares what serves with what app.json asks for.
  - A failure shows the failed command's own output; the release that served keeps serving.
options:
  name:
    description: The app.
    type: str
    required: true
  superuser_password:
    description: For the contract's superuser, where it is not made yet.
    type: str
    default: ""
author: Django Appliance
"""

EXAMPLES = r"""
- name: Make the release and hand over to it
  app_release:
    name: shop
"""

RETURN = r"""
release:
  description: The release that serves.
  type: str
  returned: success
previous:
  description: The release that served before, if any.
  type: str
  returned: success
steps:
  description: What was done, with the seconds since the start.
  type: list
  returned: success
"""

TOOL = "/usr/local/sbin/appliance-release"


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "superuser_password": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    if module.check_mode and not (os.path.exists(TOOL) and os.path.exists(f"/etc/appliance/apps/{name}/app.json")):
        module.exit_json(changed=True, release="", previous=None, steps=[])
    done = subprocess.run(
        [TOOL, "deploy", name, *(["--check"] if module.check_mode else [])],
        input=module.params["superuser_password"],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        module.fail_json(msg=done.stderr.strip())
    module.exit_json(steps=done.stderr.splitlines(), **json.loads(done.stdout))


if __name__ == "__main__":
    main()
