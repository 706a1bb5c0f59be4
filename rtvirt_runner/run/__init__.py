"""Playbooks through ansible-runner, and what of them is shown while they run."""
