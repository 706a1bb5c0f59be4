"""Take a board for this run, or release it; wraps rtvirt_runner.machine.lease."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rtvirt.testbed.plugins.modules.lease import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from ansible_collections.rtvirt.testbed.plugins.plugin_utils.far_shell import Answer, run_script
    from ansible_collections.rtvirt.testbed.plugins.plugin_utils.run_lease import (
        FACT,
        lease_environment,
        owner_runs,
        this_run,
    )

    from rtvirt_runner.machine import preflight
    from rtvirt_runner.machine.lease import HELD, Holder, Lease
    from rtvirt_runner.machine.scripts import script_text
    from rtvirt_runner.printable import printable
    from rtvirt_runner.progress_lines import Pulse, minutes


ASK_EVERY_S = 60.0  # seldom: the board may be measuring
LOOK_EVERY_S = 1.0
SAY_EVERY_S = 60.0
ADVICE = (
    "Wait for it with -e rtvirt_wait=true (rtvirt matrix --wait), or if that run is gone for good take the board with "
    "-e rtvirt_take_over=true."
)


class ActionModule(ActionBase):
    """Sets the fact that later commands know the lease by; never changed."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take or release; the answer of the board decides."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        host = str((task_vars or {}).get("inventory_hostname", "the board"))
        holder = this_run(str(args["purpose"]))
        if args["state"] == "released":
            if not self._task.check_mode:
                self._ask(lease_environment("release", holder))  # a board that is off holds no lease
            return {"changed": False, "ansible_facts": {FACT: ""}}
        began = time.monotonic()
        found = self._take(host, holder, args)
        if args["preflight"] and not found:
            found = self._preflight(host, args["preflight"])
        if found.get("failed"):
            if not self._task.check_mode:
                self._ask(lease_environment("release", holder))
            return found
        fact = "" if self._task.check_mode else holder.as_line()
        return {"changed": False, "waited_s": round(time.monotonic() - began, 1), "ansible_facts": {FACT: fact}} | found

    def _preflight(self, host: str, asked: dict[str, Any]) -> dict[str, Any]:
        """What the board told when it was taken: show what limits it, and fail for what it cannot."""
        try:
            wanted = preflight.wanted_of(asked, time.time())
        except ValueError as error:
            return {"failed": True, "msg": f"preflight: {error}."}
        found = preflight.checks(self._told.reply.as_dict(), wanted)
        for check in found:
            if check.state == preflight.LIMITS:
                Display().display(printable(f"{host}: {check.name}: {check.found}; {check.help}"))
        answer: dict[str, Any] = {"preflight": [asdict(check) for check in found]}
        if cannot := preflight.failures(found):
            answer |= {"failed": True, "msg": printable(f"{host} cannot do what is asked. {'. '.join(cannot)}.")}
        return answer

    def _take(self, host: str, holder: Holder, args: dict[str, Any]) -> dict[str, Any]:
        """Take the board; returns the result of the task if that failed, or {}."""
        do = "show" if self._task.check_mode else "take"
        more = ["preflight"] if args["preflight"] else []
        deadline, over, pulse, said = time.monotonic() + args["wait_s"], "", Pulse(SAY_EVERY_S), False
        while True:
            answer = self._told = self._ask(lease_environment(do, holder, over=over), *more)
            lease = Lease.found(answer.reply)
            if answer.failure and not (lease and answer.reply.failure == HELD):
                return {"failed": True, "msg": printable(answer.failure), "held": False}
            if lease is None or lease.token == holder.token:
                return {}
            reason = "that was asked for" if args["take_over"] else lease.why_over(holder, owner_runs(lease))
            if reason and do == "show":
                return {}
            if reason:
                Display().warning(f"{lease.sentence(host)}, and is taken over, since {reason}.")
                over = lease.token
                continue
            if not args["wait"]:
                return {"failed": True, "msg": f"{lease.sentence(host)}. {ADVICE}", "held": True}
            if time.monotonic() > deadline:
                waited = f"and was waited for {minutes(args['wait_s'])}"
                return {"failed": True, "msg": f"{lease.sentence(host)}, {waited}. {ADVICE}", "held": True}
            if not said or pulse.due():
                said = True
                Display().display(f"{lease.sentence(host)}; waiting for it")
            self._rest(lease, holder)

    def _rest(self, lease: Lease, mine: Holder) -> None:
        """Wait until the board is worth another question, which a process of this computer tells by ending."""
        again = time.monotonic() + ASK_EVERY_S
        while time.monotonic() < again and not lease.why_over(mine, owner_runs(lease)):
            time.sleep(LOOK_EVERY_S)

    def _ask(self, environment: dict[str, str], *more: str) -> Answer:
        return run_script(self, script_text("lease", *more), environment)
