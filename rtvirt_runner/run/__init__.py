"""Run playbooks through ansible-runner, and show their progress."""
