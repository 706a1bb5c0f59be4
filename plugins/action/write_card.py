"""Write a card image to an SD card in a reader of the controller; wraps rtvirt_runner.media.sd_card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rtvirt.testbed.plugins.modules.write_card import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from rtvirt_runner.media import sd_card


class ActionModule(ActionBase):
    """Returns device, bytes, sha256 and seconds; always changed, whatever was on the card."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the device, then write it."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        device = str(args["device"])
        if not args["image"] or not device:
            return {"failed": bool(args["image"]), "msg": sd_card.which()}
        image = Path(args["image"])
        try:
            target = sd_card.check(Path(device), image, card_bytes=args["card_gb"] * 10**9)
            if self._task.check_mode:
                return {"changed": True, "device": device, "msg": f"would write {image} to {device}"}
            written = sd_card.write(image, target, Display().display)
        except sd_card.CardError as error:
            return {"failed": True, "msg": str(error)}
        return {
            "changed": True,
            "device": device,
            "bytes": written.bytes,
            "sha256": written.sha256,
            "seconds": written.seconds,
        }
