"""Documentation of the action plugin artifact, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: artifact
short_description: build an artifact on the controller once, cached by content
description:
  - Runs a POSIX sh script on the controller, whatever host the task is for, unless the cache holds the result of the
    same script with the same inputs.
  - Lines of the script's output that begin with C(::) are shown as they come.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  name:
    description: Name of the artifact, prefix of its folder in the cache.
    type: str
    required: true
  script:
    description: The script, which writes its results to the folder C($OUT).
    type: path
    required: true
  inputs:
    description: Environment variables that affect the result.
    type: dict
    default: {}
  needs:
    description: Environment variables that hold folders of other artifacts.
    type: dict
    default: {}
  sources:
    description: Files and folders whose content affects the result.
    type: list
    elements: path
    default: []
  settings:
    description: Environment variables that do not affect the result, such as the folder of its sources.
    type: dict
    default: {}
  as_root:
    description: Run the script as root (sudo -n) when the user is not.
    type: bool
    default: false
  timeout_s:
    description: Limit for the whole build in seconds.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Compile a program for the board, once
  rtvirt.testbed.artifact:
    name: hello
    script: "{{ playbook_dir }}/compile.sh"
    inputs:
      CC: aarch64-linux-gnu-gcc
    sources: ["{{ playbook_dir }}/hello.c"]
  register: hello
"""

RETURN = r"""
path:
  description: Folder of the artifact; empty in check mode when it has to be built.
  type: str
  returned: always
key:
  description: The key of its inputs.
  type: str
  returned: always
seconds:
  description: How long it took to build, then or now.
  type: float
  returned: when not in check mode
"""
