"""What a run is doing now, for whoever asks from another terminal: a JSON file beside its log, gone when it ends."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtvirt_runner.run.progress import Progress


@dataclass(frozen=True)
class Now:
    """State of a run. Times are seconds of wall time; ``left_s`` is None as long as no cell has ended."""

    log: str
    pid: int
    stage: str
    elapsed_s: int
    cells_ended: int
    cells_to_do: int
    left_s: int | None
    doing: Mapping[str, str]  # host -> the name of its task

    @classmethod
    def of(cls, progress: Progress, log: str, now: float) -> Now:
        """The state of a run in this process; ``now`` is of the clock of ``progress``."""
        left_s = progress.left_s()
        return cls(
            log=log,
            pid=os.getpid(),
            stage=progress.stages[-1].name if progress.stages else "starting",
            elapsed_s=round(now - progress.started),
            cells_ended=len(progress.cells),
            cells_to_do=sum(progress.to_do.values()),
            left_s=None if left_s is None else round(left_s),
            doing={host: work.task for host, work in sorted(progress.working.items())},
        )

    def write(self) -> None:
        """Replace the file. Without room for it the run goes on."""
        path = _beside(Path(self.log))
        partial = path.with_suffix(".partial")
        with suppress(OSError):
            partial.write_text(json.dumps(asdict(self)))
            partial.replace(path)


def remove(log: Path) -> None:
    """Remove the file of a run that ends."""
    with suppress(OSError):
        _beside(log).unlink()


def running(log_dir: Path) -> list[Now]:
    """The runs that write a log in a folder now, the oldest first; files of killed runs are left out."""
    return [state for path in sorted(log_dir.glob("*.now")) if (state := _read(path)) is not None]


def _read(path: Path) -> Now | None:
    try:
        with path.with_suffix(".log").open() as log:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None  # nobody writes the log
    except BlockingIOError:
        pass
    except OSError:
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return Now(**content)
    except (OSError, ValueError, TypeError):  # it has just ended, or is of another version
        return None


def _beside(log: Path) -> Path:
    return log.with_suffix(".now")
