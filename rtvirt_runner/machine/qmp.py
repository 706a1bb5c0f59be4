"""A client of QEMU's monitor, for scripts: ``python -m rtvirt_runner.machine.qmp SOCKET COMMAND``.

With COMMAND ``hmp``, a line of the human monitor follows.
The protocol is QEMU's docs/interop/qmp-spec: a greeting, ``qmp_capabilities``, then a command and its response, each
one line of JSON; events may be interspersed.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TIMEOUT_S = 120.0


class QmpError(RuntimeError):
    """QEMU does not answer, or returns an error; the message is a clause."""


def execute(monitor: Path, command: str, arguments: dict[str, Any] | None = None) -> Any:
    """Run one QMP command and return its result. Raises QmpError."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(monitor))
            with connection.makefile("rw") as stream:
                json.loads(stream.readline())  # the greeting
                _ask(stream, {"execute": "qmp_capabilities"})
                return _ask(stream, {"execute": command, "arguments": arguments or {}})
    except (OSError, ValueError) as error:
        raise QmpError(f"QEMU does not answer on {monitor}: {error}") from error


def human_monitor(monitor: Path, line: str) -> str:
    """Run one line of the human monitor and return its output. Raises QmpError."""
    return str(execute(monitor, "human-monitor-command", {"command-line": line}))


def _ask(stream: Any, request: dict[str, Any]) -> Any:
    print(json.dumps(request), file=stream, flush=True)
    while True:
        answer = json.loads(stream.readline())
        if "error" in answer:
            raise QmpError(f"QEMU refused {request['execute']}: {answer['error']['desc']}")
        if "return" in answer:
            return answer["return"]


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns 1 on failure. A line of the human monitor with any output has failed."""
    monitor, command, *rest = arguments
    try:
        if command != "hmp":
            execute(Path(monitor), command)
        elif said := human_monitor(Path(monitor), rest[0]).strip():
            raise QmpError(f"QEMU refused {rest[0]}: {said}")
    except QmpError as error:
        print(f"!! {error}.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
