"""Documentation of the action plugin artifact, where ansible-doc finds it; nothing of it runs on a host."""

DOCUMENTATION = r"""
name: artifact
short_description: build something on the controller once, cached by content
description:
  - Runs a POSIX sh script on the controller, whatever host the task is for, unless the same script has run with the
    same content before.
  - Lines of the script's output that begin with C(::) are shown as they come.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  name:
    description: What is built; the folder in the cache begins with it.
    type: str
    required: true
  script:
    description: The script; it leaves its results in the folder C($OUT).
    type: path
    required: true
  inputs:
    description: Environment variables that decide the result.
    type: dict
    default: {}
  needs:
    description: Environment variables that hold folders of other artifacts.
    type: dict
    default: {}
  sources:
    description: Files and folders whose content decides the result.
    type: list
    elements: path
    default: []
  settings:
    description: Environment variables that do not change the result, such as where its sources are.
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
