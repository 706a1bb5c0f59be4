"""A plugin's argument specification, derived from its documentation."""

from __future__ import annotations

from typing import Any

import yaml


def argument_spec(documentation: str) -> dict[str, dict[str, Any]]:
    """The options of a plugin's DOCUMENTATION in the form that validate_argument_spec takes."""
    options: dict[str, dict[str, Any]] = yaml.safe_load(documentation)["options"]
    return {
        name: {key: value for key, value in option.items() if key != "description"} for name, option in options.items()
    }
