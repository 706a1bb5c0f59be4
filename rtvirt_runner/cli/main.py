"""The command line: ``rtvirt COMMAND``; each command's options, and what it does.

Results go to stdout, messages to stderr. Exit status: 0 success, 1 cells or checks failed, or a board or the cache's
size is not as wanted, something is worse, or a budget is not met, 2 bad input, 3 what was asked for is done, but
records cannot be used, or a page was replaced by one with fewer cells (both are named), 4 nothing is worse and no
budget is missed as far as is known, but not all can be told, 130 interrupted. The report (pandas, matplotlib: a second
to import) is imported only to write it, so that help and error messages come at once.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.tree import Tree

from rtvirt_runner.analysis import exposure
from rtvirt_runner.analysis.comparisons import ACROSS
from rtvirt_runner.analysis.late.stored import read_trace
from rtvirt_runner.build import artifacts, cache
from rtvirt_runner.catalogue import checked_yaml, collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.extras import extra
from rtvirt_runner.catalogue.lab import Board, Lab
from rtvirt_runner.catalogue.neighbours import NO_NEIGHBOUR
from rtvirt_runner.cli import boards as cli_boards
from rtvirt_runner.cli import cache as cli_cache
from rtvirt_runner.cli import inspect as cli_inspect
from rtvirt_runner.cli import kernels as cli_kernels
from rtvirt_runner.cli import trace as cli_trace
from rtvirt_runner.machine import preflight
from rtvirt_runner.matrix import missing
from rtvirt_runner.matrix.asked_traces import AskedTrace, traces_left
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, load_matrix, state_cell
from rtvirt_runner.matrix.plan import measuring_s, plan
from rtvirt_runner.matrix.results import BadRecord, Record, ResultsError, ResultsTree, unusable
from rtvirt_runner.matrix.select import select_cells
from rtvirt_runner.matrix.stored import asked_repetitions, read_stored, store_matrix, stored_matrices
from rtvirt_runner.matrix.threshold import AUTO, read_threshold
from rtvirt_runner.matrix.trace_files import MORE_LOOPS
from rtvirt_runner.matrix.ways import cells_measured, why_over_ssh
from rtvirt_runner.printable import printable
from rtvirt_runner.run.now import Now, running
from rtvirt_runner.run.playbooks import InventoryError, Outcome, read_inventory, run_playbook
from rtvirt_runner.run.progress import Stage, duration
from rtvirt_runner.run.terminal import SafeConsole

if TYPE_CHECKING:
    from rtvirt_runner.report.page import Report

FIRST_MATRIX = "first"
ENOUGH_REPETITIONS = 3  # to tell how much runs differ
NEXT = {"first": "'rtvirt matrix --matrix smoke', every kind of experiment, about half an hour on two cores"}
DONE, FAILED_CELLS, BAD_INPUT, BAD_RECORDS, NOT_TOLD, INTERRUPTED = 0, 1, 2, 3, 4, 130

_ABOUT = """\
Measures what virtualization costs a real-time workload: boots boards with a PREEMPT_RT kernel, starts a KVM guest on
them, runs cyclictest on the host and in the guest for every cell of a matrix, and writes one page that compares them.

Without an inventory it uses the virtual lab: boards that QEMU emulates, nothing to plug in. Their clock counts
instructions, so figures compare settings with each other and are labelled "virtual time"; they do not predict a chip.
"""

_EXAMPLES = """\
examples:
  rtvirt matrix                          a first answer, in minutes, on the virtual lab
  rtvirt matrix --matrix smoke           every kind of experiment
  rtvirt plan --matrix paper             what the paper's matrix would boot and measure, and what of it is done
  rtvirt matrix --matrix my.yml -i lab/  your matrix on your boards (docs/writing-a-matrix.md)
  rtvirt matrix --only cb2 --only load   one board's cells of one experiment; a cell's id names one cell
  rtvirt matrix --only CELL --again      measure a cell again; its record is kept aside
  rtvirt inspect virtual-cb2             what is wanted of a board and what it has, setting by setting
  rtvirt converge virtual-cb2 --kernel debian-rt --tuning full --split 0/1 --guest minimal
                                         bring a board into a state, for work by hand
  rtvirt ssh virtual-cb2-guest uname -a  a shell, or one command, on a board or in its guest
  rtvirt console virtual-cb2 --follow    what a board writes to its serial console
  rtvirt trace virtual-cb2               why a wake-up in its guest was late (docs/late-wake-ups.md)
  rtvirt reset virtual-cb2               take back what was changed on a board; an emulated one is stopped
  rtvirt reprovision cb2                 a board from a blank card, all its data are lost (docs/real-boards.md)
  rtvirt kernels                         the kernel catalogue, what of it is built, what runs where
  rtvirt kernels build linux-6.12-rt     make a kernel of it (docs/kernels.md)
  rtvirt cache                           what is kept between runs, what it takes, what of it is in use
  rtvirt cache prune --to 5GB            make room: what was used least recently goes first (docs/cache.md)
  rtvirt capsule results/first           an archive from which anybody runs its sealed cells again (docs/sealed-runs.md)
  rtvirt verdict                         whether each board meets the budget, with which tuning, how certainly
  rtvirt claims                          which of the paper's claims hold here, in numbers
  rtvirt compare A B --gate              whether anything got worse, for a shell (docs/verdicts.md)
  rtvirt status                          how far a run is; ask from another terminal
  rtvirt test tests/lint tests/unit      some of the checks; rtvirt test --help says more

results:
  results/<matrix>/report/index.html     the page; cells.csv beside it has a row per cell
  results/<matrix>/<board>/<cell>/       one record per cell (docs/results-folder.md)
  results/<matrix>/<board>/<cell>.trace-<n>/  a late wake-up that was traced, and its cause
  results/<matrix>/log/                  the whole output of each run
Records that cannot be used are named with their reason, the others count, and plan, status, report, verdict, claims and
compare end with exit status 3; matrix keeps them aside and measures their cells again.
Cells that are done are not measured again, unless --again says so: an interrupted run goes on where it stopped. Ctrl-C
lets the cells that are being measured end and leaves the rest; a second one drops these too.
"""


_STORED = """\
Without -i, takes the matrix and its boards as they are stored with the results: a copy of a results folder, or of the
folder of one matrix in it, needs neither the matrix's file nor the inventory. With -i, reads both again.
"""

_CLAIMS = f"""\
Puts each sentence of the paper's results that can be true or false beside what was measured: supported, contradicted,
cannot be told, or not measured, with ours in numbers (docs/verdicts.md). {_STORED}"""

_VERDICT = f"""\
Says of each board of a matrix whether a real-time task with the matrix's budget can live in its guest: meets it, with
the cheapest tuning that does, does not meet it, or cannot be told, with margin, certainty, and what to do next. The
exit status is 0 when all boards meet the budget that decides, 1 when one does not, 3 when records cannot be used, 4
when none fails but not all can be told (docs/verdicts.md). {_STORED}"""

_TRACE = """\
Runs one cell of a matrix on its board: without a trace, traced, and traced until a wake-up is later than a threshold.
Then says who had each microsecond of that wake-up, on the board and in its guest, and stores traces, picture and words
beside the cell's record, which stays as it is (docs/late-wake-ups.md).
"""

_COMPARE = """\
Point by point (a cell with all its repetitions), by average and p99: better, worse, same (within the margin), not told
(too few repetitions) or unlike (another kernel, board, clock, or sealed against over SSH: compared only with --across).
The exit status is 0 when all are better or the same, 1 when one is worse, 3 when records cannot be used, 4 when none is
worse but not all can be told. docs/verdicts.md says how. With --exact: of sealed machines, cell by cell and bin by bin,
status 0 when all bins are the same.
"""

_TESTS = """\
Hands over to pytest in the checkout, with a board for each core, two at most, and other tests beside them; its exit
status is pytest's (0 good, 1 failed, 5 nothing to run). Without options it is what CI runs. Tests are in folders from
quick to slow: tests/lint, tests/unit, tests/integration (this machine only) and tests/machines (emulated boards).

  --all            the slow tests too
  --changed [REV]  only slow tests that a change since REV can reach, and why each was picked; REV is a commit, by
                   default the one where the branch left its upstream, or else the commit before the last
  --resume         go on with a run of this commit that was interrupted: without the files whose tests have all passed
  PATH             only these, a folder or file or file::test

everything else is pytest's, such as:
  rtvirt test tests/unit                     one tier
  rtvirt test --changed --collect-only -q    what --changed would run
  rtvirt test -n 0 -x -v tests/unit          one after the other, up to the first failure
  rtvirt test -k grub --durations 20
"""


class UsageError(ValueError):
    """A command cannot be executed as given; the message is one sentence."""


@dataclass(frozen=True)
class Request:
    """Matrix, inventory and results folder that the options name, validated."""

    matrix: Matrix
    inventory: Path
    tree: ResultsTree
    lab: Lab
    catalogue: Catalogue
    only: tuple[str, ...] = ()

    @cached_property
    def chosen(self) -> tuple[Cell, ...]:
        """The cells that --only names, or all; raises InputError for an unknown name."""
        return select_cells(self.matrix, self.only)

    def pending(self) -> list[Cell]:
        """The chosen cells that are not done."""
        return self.tree.pending(self.matrix.name, self.chosen)

    def traces_left(self) -> list[AskedTrace]:
        """The traces of the chosen cells that a run makes."""
        return traces_left(self.matrix, self.tree, self.chosen)

    def records(self) -> dict[str, Record]:
        """The records of this matrix by cell id."""
        return {record.cell.id: record for record in self.tree.load_records(self.matrix.name)}

    def bad_records(self) -> list[BadRecord]:
        """What is in the place of records of this matrix and cannot be used."""
        return unusable(self.tree.read(self.matrix.name, self.matrix.cells))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = _parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown and args.run is not _test:  # passed on to pytest
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    args.for_pytest = unknown
    args.typed = shlex.join(["rtvirt", *(sys.argv[1:] if argv is None else argv)])
    try:
        with _interruptible():
            return int(args.run(args))
    except (InventoryError, InputError, ResultsError, UsageError) as error:
        say(str(error))
        return BAD_INPUT
    except BrokenPipeError:  # whoever reads the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        say(_os_sentence(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        say(f"interrupted; to go on: {args.typed}")
        return INTERRUPTED


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Context in which SIGTERM and SIGHUP, unless ignored, raise KeyboardInterrupt, as SIGINT does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    heeded = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in heeded:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def say(text: str) -> None:
    """Print one message to stderr, as one line."""
    print(f"rtvirt: {printable(text)}", file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """Print a result to stdout."""
    print(printable(text, keep="\n"), flush=True)


def _os_sentence(error: OSError) -> str:
    """What a file system, a device or the machine refused."""
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"The operating system refused something: {reason}; is a disk full, or the machine out of memory?"
    paths = [os.fsdecode(each) for each in (error.filename, error.filename2) if isinstance(each, str | bytes)]
    where = " and ".join(paths) or f"File descriptor {error.filename}"
    return f"{where}: {reason}, expected it to be usable; check the path, its permissions and the room on its disk."


# --------------------------------------------------------------------------------------------------------- options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtvirt",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rtvirt {version('rtvirt-runner')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    common, only, inventory, as_json = _common_options(), _only_option(), _inventory_option(), _json_option()
    repetitions = _repetitions_option()
    matrix = commands.add_parser(
        "matrix", parents=[common, only, repetitions], help="measure what is not done yet, then write the page"
    )
    matrix.add_argument("--keep-boards", action="store_true", help="leave virtual boards running at the end")
    matrix.add_argument(
        "--over-ssh",
        action="store_true",
        help="measure on provisioned boards even what sealed machines could measure (docs/sealed-runs.md)",
    )
    matrix.add_argument(
        "--wait",
        action="store_true",
        help="wait for boards that another run holds, rather than leave their cells (docs/real-boards.md)",
    )
    matrix.add_argument(
        "--again", action="store_true", help="measure done cells too; their records are kept as CELL.earlier-1, ..."
    )
    matrix.add_argument("-v", "--verbose", action="count", default=0, help="more from Ansible in the log; repeatable")
    matrix.set_defaults(run=_matrix)
    commands.add_parser(
        "plan",
        parents=[common, only, repetitions, as_json],
        help="show what would be booted and measured, in order; touches no board",
    ).set_defaults(run=_plan)
    commands.add_parser(
        "status",
        parents=[common, as_json],
        description=_STORED,
        help="count done, failed and pending cells per experiment and board; say what a run does now",
    ).set_defaults(run=_status)
    commands.add_parser(
        "report", parents=[common], description=_STORED, help="write the page again from the results"
    ).set_defaults(run=_report)
    verdict = commands.add_parser(
        "verdict", parents=[common], description=_VERDICT, help="say whether each board meets the budget, and with what"
    )
    verdict.add_argument("--budget", metavar="NAME", help="the budget that decides (default: the matrix's first)")
    verdict.add_argument("--json", action="store_true", help="the verdicts as JSON, with all their numbers")
    verdict.set_defaults(run=_verdict)
    claims = commands.add_parser(
        "claims", parents=[common], description=_CLAIMS, help="say which of the paper's claims hold here, in numbers"
    )
    form = claims.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the claims as JSON, with all their numbers")
    form.add_argument("--markdown", action="store_true", help="the paper's idle experiment beside its Table II, a page")
    claims.set_defaults(run=_claims)
    _add_compare(
        commands.add_parser(
            "compare", description=_COMPARE, help="compare two result sets, or what two commits measure"
        )
    )
    _add_capsule(commands.add_parser("capsule", help="write an archive from which anybody runs sealed cells again"))
    _add_boards(commands, inventory)
    _add_trace(
        commands.add_parser(
            "trace",
            parents=[common],
            description=_TRACE,
            help="trace a late wake-up on board and guest, and say its cause",
        )
    )
    _add_inspect(
        commands.add_parser(
            "inspect", parents=[inventory], help="show what is wanted of a board and what it has, read from it"
        )
    )
    _add_kernels(commands.add_parser("kernels", help="show the kernel catalogue, or build kernels of it"), inventory)
    _add_cache(commands.add_parser("cache", help="show what is kept between runs, or prune it"))
    _add_test(commands)
    return parser


def _common_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--matrix",
        metavar="NAME|PATH",
        help=f"which matrix: {', '.join(collection.matrix_names())}, or a file (default: {FIRST_MATRIX})",
    )
    options.add_argument(
        "-i",
        "--inventory",
        type=Path,
        metavar="PATH",
        help="the lab (default: virtual)",
    )
    options.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="results folder (default: ./results)"
    )
    return options


def _only_option() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="only the cells of this board or experiment, or this cell; repeatable: two boards add up, a board and an "
        "experiment restrict each other",
    )
    return options


def _repetitions_option() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--repetitions",
        type=int,
        metavar="N",
        help="repeat each experiment N times, instead of as often as the matrix says; what is done stays done",
    )
    return options


def _inventory_option() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "-i",
        "--inventory",
        type=Path,
        default=collection.VIRTUAL_LAB,
        metavar="PATH",
        help="the lab (default: virtual)",
    )
    return options


def _json_option() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--json", action="store_true", help="the same as JSON")
    return options


def _add_boards(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], inventory: argparse.ArgumentParser
) -> None:
    shell = commands.add_parser("ssh", parents=[inventory], help="a shell on a board or in its guest, or one command")
    shell.add_argument("host", metavar="BOARD[-guest]", help="a board of the inventory, or its guest")
    shell.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run there, instead of a shell"
    )
    shell.set_defaults(run=_ssh)
    console = commands.add_parser(
        "console", parents=[inventory], help="show the serial console's log of a board, or of its guest"
    )
    console.add_argument("host", metavar="BOARD[-guest]", help="a board of the inventory, or its guest")
    console.add_argument("-f", "--follow", action="store_true", help="go on with what is written, until Ctrl-C")
    console.add_argument("-n", "--lines", type=int, default=100, metavar="COUNT", help="its last lines (default: 100)")
    console.set_defaults(run=_console)

    verb = argparse.ArgumentParser(add_help=False, parents=[inventory])
    verb.add_argument("boards", nargs="+", metavar="BOARD", help="a board of the inventory")
    verb.add_argument("--check", action="store_true", help="change nothing, and say in the log what would be changed")
    verb.add_argument("-v", "--verbose", action="count", default=0, help="more from Ansible in the log; repeatable")
    converge = commands.add_parser(
        "converge",
        parents=[verb],
        help="bring boards into a state: kernel, tuning and guest; virtual ones keep running",
    )
    converge.add_argument("--kernel", required=True, metavar="NAME", help="of the kernel catalogue")
    converge.add_argument("--tuning", default="none", metavar="NAME", help="settings to apply (default: none)")
    converge.add_argument(
        "--split",
        required=True,
        metavar="HOST/GUEST",
        help="cores of the host and of the guest, such as 0/1 or 0-1/2-3",
    )
    converge.add_argument("--guest", metavar="NAME", help="the guest to start (default: none)")
    converge.set_defaults(run=_converge)
    commands.add_parser(
        "reset", parents=[verb], help="take back what was changed on boards; virtual ones are stopped"
    ).set_defaults(run=_reset)
    reprovision = commands.add_parser(
        "reprovision", parents=[verb], help="make boards anew from a blank card; all their data are lost"
    )
    reprovision.add_argument("--card", metavar="DEVICE", help="the card's name below /dev/disk/by-id")
    reprovision.add_argument("--rotate-identity", action="store_true", help="make new SSH keys for the board as well")
    reprovision.set_defaults(run=_reprovision)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, nargs="*", metavar="A B", help="two results folders")
    parser.add_argument(
        "--exact", action="store_true", help="cell by cell and bin by bin, of sealed measurements, without statistics"
    )
    parser.add_argument(
        "--gate", action="store_true", help="print one line only; for a shell: if rtvirt compare A B --gate; then"
    )
    parser.add_argument(
        "--across",
        action="append",
        default=[],
        choices=ACROSS,
        help="compare points that differ in this, which is refused otherwise; repeatable",
    )
    parser.add_argument(
        "--margin", type=float, default=10, metavar="PERCENT", help="a change within it is none (default: 10)"
    )
    parser.add_argument(
        "--since",
        metavar="REV",
        help="measure with the commit REV and with this checkout, and compare these (CONTRIBUTING.md)",
    )
    parser.add_argument(
        "--matrix",
        metavar="NAME|PATH",
        help=f"which matrix of folders that hold several; with --since which to measure (default: {FIRST_MATRIX})",
    )
    parser.add_argument(
        "--into",
        type=Path,
        default=Path("results") / "since",
        metavar="DIR",
        help="with --since: where its results go (default: ./results/since)",
    )
    parser.add_argument("--json", action="store_true", help="the rows as JSON")
    parser.set_defaults(run=_compare)


def _add_capsule(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", type=Path, metavar="RESULTS", help="the folder of a matrix, or a results folder that holds one"
    )
    parser.add_argument(
        "--cell",
        action="append",
        default=[],
        metavar="ID",
        help="only this cell; repeatable (default: all that were measured sealed)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="the archive (default: ./<matrix>-capsule.tar.gz)")
    parser.set_defaults(run=_capsule)


def _add_trace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("board", metavar="BOARD", help="a board of the inventory")
    parser.add_argument("--cell", metavar="ID", help="a cell of the matrix (default: the board's first in a guest)")
    parser.add_argument(
        "--threshold",
        default=AUTO,
        metavar=f"US|{AUTO}",
        help=f"how late a wake-up is to be, in us; {AUTO}: later than the p99.9 of the cell without a trace (default)",
    )
    parser.add_argument("--keep-boards", action="store_true", help="leave a virtual board running at the end")
    parser.add_argument(
        "--over-ssh",
        action="store_true",
        help="trace on the provisioned board even what a sealed machine could trace (docs/sealed-runs.md)",
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="more from Ansible in the log; repeatable")
    parser.set_defaults(run=_trace)


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("board", metavar="BOARD", help="a board of the inventory")
    parser.add_argument("--all", action="store_true", help="every file and thread, none folded into one line")
    parser.add_argument(
        "--preflight", action="store_true", help="whether the board can do what is asked, and what to do if not"
    )
    parser.add_argument(
        "--hwlat",
        type=int,
        default=0,
        metavar="SECONDS",
        help="with --preflight: look that long for gaps that the hardware makes (tracer hwlat)",
    )
    parser.set_defaults(run=_inspect)


def _add_kernels(parser: argparse.ArgumentParser, inventory: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_kernels, inventory=collection.VIRTUAL_LAB)
    commands = parser.add_subparsers(metavar="COMMAND")
    show = commands.add_parser(
        "show", parents=[inventory], help="the catalogue, what is built, what runs on which board (the default)"
    )
    show.set_defaults(run=_kernels)
    build = commands.add_parser("build", parents=[inventory], help="make kernels of the catalogue on this machine")
    build.add_argument("names", nargs="+", metavar="NAME", help="a kernel's name in the catalogue")
    build.add_argument("-v", "--verbose", action="count", default=0, help="more from Ansible in the log; repeatable")
    build.set_defaults(run=_build_kernels)


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="every entry, those of one name not folded into one line")
    parser.add_argument("--json", action="store_true", help="every entry as JSON, with its paths and its size in bytes")
    parser.set_defaults(run=_cache)
    commands = parser.add_subparsers(metavar="COMMAND")
    prune = commands.add_parser(
        "prune", help="remove what was used least recently until the cache is small enough; never what is in use"
    )
    prune.add_argument("--to", required=True, metavar="SIZE", help="how large it may be: 0, 500MiB, 1.5GB, ...")
    prune.add_argument(
        "--kind",
        action="append",
        choices=sorted(cache.PRUNABLE),
        help="only entries of this kind, which then are to take SIZE or less; repeatable (default: the whole cache)",
    )
    prune.add_argument("--dry-run", action="store_true", help="say what would go, remove nothing")
    prune.set_defaults(run=_prune_cache)


def _add_test(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "test",
        help="run every check that CI runs",
        usage="rtvirt test [--all | --changed [REV]] [--resume] [PATH ...] [any option of pytest]",
        description=_TESTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # unknown options are passed on to pytest
    )
    parser.add_argument("--tier", help=argparse.SUPPRESS)  # former way to name a tier, refused with a hint
    parser.set_defaults(run=_test)


def _load(args: argparse.Namespace) -> Request:
    """Read and validate everything that the options name, before anything is touched."""
    named, inventory = args.matrix or FIRST_MATRIX, args.inventory or collection.VIRTUAL_LAB
    path = collection.matrix_path(named)
    if not os.path.lexists(path):
        raise UsageError(
            f"there is no matrix '{named}', "
            f"expected one of {', '.join(collection.matrix_names())} or the path of "
            "a .yml file."
        )
    if args.results.exists() and not args.results.is_dir():
        raise UsageError(f"{args.results} is not a folder, expected the results folder; give another with --results.")
    groups, hostvars = read_inventory(inventory)
    lab = Lab.from_inventory(groups, hostvars, collection.inventory_folder(inventory))
    catalogue = Catalogue.load(collection.VARS, lab)
    matrix = load_matrix(path, lab, catalogue, getattr(args, "repetitions", None))
    request = Request(
        matrix,
        inventory.absolute(),
        ResultsTree(args.results.absolute()),
        lab,
        catalogue,
        tuple(getattr(args, "only", ())),
    )
    if not request.chosen:
        raise UsageError(
            f"--only {' --only '.join(request.only)}: matrix '{matrix.name}' has no such cells together; leave one out."
        )
    return request


def _load_measured(args: argparse.Namespace) -> Request:
    """As ``_load``; without an inventory, what is stored with the results, where that is of the matrix."""
    stored = {} if args.inventory else stored_matrices(args.results)
    if args.matrix is None and len(stored) > 1 and FIRST_MATRIX not in stored:
        raise UsageError(f"{args.results} holds the matrices {', '.join(stored)}; say which one with --matrix.")
    name = args.matrix or (next(iter(stored)) if len(stored) == 1 else FIRST_MATRIX)
    if name not in stored:
        return _load(args)
    found = read_stored(stored[name])
    return Request(found.matrix, collection.VIRTUAL_LAB, found.tree, found.lab, Catalogue.load(collection.VARS))


# -------------------------------------------------------------------------------------------------------- commands


def _matrix(args: argparse.Namespace) -> int:
    request = _load(args)
    artifacts.require_cache_folder()
    _report_writer()  # its absence is found now, not after hours of measuring
    _say_notes(request.matrix)
    asked = asked_repetitions(request.tree, request.matrix.name)
    if asked is not None and (request.matrix.repetitions or 0) < asked:
        say(f"these results were measured with --repetitions {asked}; what is repeated no more leaves the page")
    store_matrix(request.tree, request.matrix, request.lab)
    if args.again:
        for path in request.tree.set_aside(request.matrix.name, request.chosen):
            say(f"kept the earlier record as {path}")
        args.typed = _without_again(args.typed)  # or what is measured now would be measured again
    pending = request.pending()
    traces = request.traces_left()
    if not pending and not traces:
        which = "chosen cells" if request.only else "cells"
        say(f"nothing left to do: all {len(request.chosen)} {which} of matrix '{request.matrix.name}' are done")
        return _finish(request, args)
    request.tree.refuse_newer(request.matrix.name, pending)
    _name_bad_records(request.bad_records())
    measured = pending if args.over_ssh else _measured(request, pending)
    more = len(measured) - len(pending)
    before = f" (and {more} before them on their sealed machines)" if more else ""
    and_traces = f" and {len(traces)} to trace" if traces else ""
    say(
        f"{len(pending)} of {len(request.matrix.cells)} cells to measure{before}{and_traces}, see 'rtvirt plan'; how "
        f"far it is says '{_again('status', args)}'"
    )
    outcome = _measure(request, measured, args)
    if outcome.interrupted:
        done = len(pending) - len(request.pending())
        say(f"interrupted, with {done} of {len(pending)} cells measured; the log is {outcome.log}")
        say(f"to go on: {args.typed}")
        return INTERRUPTED
    _show_stages(outcome.stages)
    if not outcome.ok:
        _show_failures(outcome)
    code = _finish(request, args)
    return code if outcome.ok else FAILED_CELLS


def _measured(request: Request, pending: Sequence[Cell]) -> list[Cell]:
    return cells_measured(request.matrix.cells, pending, request.lab, request.catalogue)


def _measure(request: Request, measured: Sequence[Cell], args: argparse.Namespace) -> Outcome:
    extravars = {"rtvirt_matrix": str(request.matrix.path), "rtvirt_results_dir": str(request.tree.root)}
    return run_playbook(
        collection.FULL_MATRIX,
        request.inventory,
        extravars
        | ({"rtvirt_keep_boards": True} if args.keep_boards else {})
        | ({"rtvirt_sealed": False} if args.over_ssh else {})
        | ({"rtvirt_wait": True} if args.wait else {})
        | ({"rtvirt_only": list(request.only)} if request.only else {})
        | ({"rtvirt_repetitions": request.matrix.repetitions} if request.matrix.repetitions else {}),
        log_dir=request.tree.root / request.matrix.name / "log",
        verbosity=args.verbose,
        to_do=Counter(cell.board for cell in measured),
    )


def _finish(request: Request, args: argparse.Namespace) -> int:
    """Name what is still not done, then the verdicts, the page (the last line on stdout), and what to run next."""
    left = _name_what_is_left(request)
    for trace in request.traces_left():
        reason = request.tree.untraced(request.matrix.name, trace.cell)
        say(f"cell {trace.cell.id} was not traced{f': {reason}' if reason else ''}")
    found = request.tree.read(request.matrix.name, request.matrix.cells)
    records = [each for each in found if isinstance(each, Record)]
    if records:
        _tell_verdicts(request.matrix, records, None)
        _report_page(request, found)
        for sentence in _next_run(request, args, records):
            say(sentence)
    return FAILED_CELLS if left else DONE


def _next_run(request: Request, args: argparse.Namespace, records: Sequence[Record]) -> Iterator[str]:
    """What to run after a matrix, and how long it takes; nothing where the verdicts already say all there is to do."""
    pending = request.pending()
    command = args.typed
    if not pending:
        args.only = []
        command = _again("matrix", args)
        pending = request.tree.pending(request.matrix.name, request.matrix.cells)
    if pending:
        left = "the one cell that is" if len(pending) == 1 else f"the {len(pending)} cells that are"
        yield f"next: {command}, for {left} left"
        yield from _times(request, pending, records)
    elif request.matrix.name in NEXT:
        if max(cell.repetition for cell in request.matrix.cells) == 1:
            args.repetitions = ENOUGH_REPETITIONS
            yield f"next: {_again('matrix', args)}, how certain all of this is; it takes twice as long again"
        yield f"next: {NEXT[request.matrix.name]}"


def _name_what_is_left(request: Request) -> int:
    pending = request.pending()
    found = {cell.id: request.tree.find(request.matrix.name, cell) for cell in pending}
    for sentence in missing.sentences({name: each.reason if each else "" for name, each in found.items()}):
        say(sentence)
    return len(pending)


def _say_notes(matrix: Matrix) -> None:
    for note in matrix.notes:
        say(f"take care: {note}")


def _name_bad_records(bad: Sequence[BadRecord]) -> None:
    """One line for each; those of cells that are measured again are kept aside then."""
    for each in bad:
        say(f"damaged record {each.path}: {each.reason}")


def _plan(args: argparse.Namespace) -> int:
    request = _load(args)
    _say_notes(request.matrix)
    pending = {cell.id for cell in request.pending()}
    traces = request.traces_left()
    bad = request.bad_records()
    matrix = request.matrix
    if args.json:
        print(json.dumps(_plan_json(request, pending), indent=2))
        _name_bad_records(bad)
        return BAD_RECORDS if bad else DONE
    to_trace = f", {len(traces)} to trace" if traces else ""
    tree = Tree(f"{matrix.name}: {matrix.title}: {len(request.chosen)} cells, {len(pending)} pending{to_trace}")
    traced = _traces(request)
    for boot in plan(request.chosen):
        params = " ".join(boot.kernel_params) or "no extra parameters"
        boots = tree.add(f"{boot.board}: boot {boot.kernel}, {params}, repetition {boot.repetition}")
        for guest in boot.guests:
            name = f"guest {guest.name}, {guest.vcpus} vCPUs" if guest.vcpus else "no guest"
            name += f" beside neighbour {guest.neighbour.name}" if guest.neighbour else ""
            settings = f", {len(guest.settings)} settings for cores {guest.guest_cpus}" if guest.settings else ""
            branch = boots.add(f"{name}{settings}")
            for cell in guest.cells:
                state = "pending" if cell.id in pending else "done   "
                said = [_way(request, cell), *([_trace_said(*traced[cell])] if cell in traced else [])]
                branch.add(f"{state}  {cell.id}  ({', '.join(said)})")
    _stdout().print(tree)
    records = request.records().values()
    for sentence in _times(request, [cell for cell in request.chosen if cell.id in pending], records):
        tell(sentence)
    if traces:
        tell(
            f"To trace: {len(traces)}, over SSH after the cells of the same boot, sealed after all cells, each on a "
            f"machine of its own; each takes another run of the cell and one of up to {MORE_LOOPS} times its loops "
            "(docs/late-wake-ups.md)."
        )
    tell(_what_it_can_say(request.chosen))
    _name_bad_records(bad)
    say(f"next: {_again('matrix' if pending or traces else 'report', args)}")
    return BAD_RECORDS if bad else DONE


def _traces(request: Request) -> dict[Cell, tuple[int | str, str]]:
    """Of each cell that is to be traced the threshold, and whether its trace is made or pending."""
    left = {each.cell for each in request.traces_left()}
    return {
        cell: (request.matrix.traces[cell], "pending" if cell in left else "made")
        for cell in request.chosen
        if cell in request.matrix.traces
    }


def _trace_said(threshold: int | str, state: str) -> str:
    late = "later than its p99.9" if threshold == AUTO else f"later than {threshold:,} us"
    return {"made": "traced", "pending": f"then traced, {late}"}[state]


def _plan_json(request: Request, pending: Collection[str]) -> dict[str, Any]:
    """The plan as plain values: boots with their guests and cells, in order."""
    traced = _traces(request)
    boots = [
        {
            "board": boot.board,
            "kernel": boot.kernel,
            "kernel_params": list(boot.kernel_params),
            "repetition": boot.repetition,
            "guests": [
                {
                    "guest": guest.name,
                    "vcpus": guest.vcpus,
                    "neighbour": guest.neighbour.name if guest.neighbour else NO_NEIGHBOUR,
                    "settings": list(guest.settings),
                    "host_cpus": guest.host_cpus,
                    "guest_cpus": guest.guest_cpus,
                    "cells": [
                        {
                            "id": cell.id,
                            "state": "pending" if cell.id in pending else "done",
                            "way": _way(request, cell),
                            "trace": dict(zip(("threshold", "state"), traced[cell], strict=True))
                            if cell in traced
                            else None,
                        }
                        for cell in guest.cells
                    ],
                }
                for guest in boot.guests
            ],
        }
        for boot in plan(request.chosen)
    ]
    about = {"matrix": request.matrix.name, "title": request.matrix.title, "cells": len(request.chosen)}
    return {**about, "pending": len(pending), "boots": boots}


def _again(command: str, args: argparse.Namespace) -> str:
    """Another command with the same options of matrix, inventory and results."""
    words = ["rtvirt", command]
    words += ["--matrix", args.matrix] if args.matrix else []
    words += ["-i", str(args.inventory)] if args.inventory else []
    words += ["--results", str(args.results)] if args.results != Path("results") else []
    if command == "matrix":
        words += [word for name in args.only for word in ("--only", name)]
        words += ["--repetitions", str(args.repetitions)] if args.repetitions is not None else []
    return shlex.join(words)


def _without_again(typed: str) -> str:
    return shlex.join(word for word in shlex.split(typed) if word != "--again")


def _times(request: Request, pending: Sequence[Cell], records: Collection[Record]) -> Iterator[str]:
    """How long what is pending takes, a sentence per board; by the cells that are done there, if any."""
    for board, seconds in measuring_s(pending).items():
        cells = sum(cell.board == board for cell in pending)
        suffix = " of virtual time" if request.lab.boards[board].clock == "virtual" else ""
        done = [each for each in records if each.output and each.cell.board == board]
        measured_s = measuring_s(each.cell for each in done).get(board, 0.0)
        taken_s = sum(each.status.measure_s + each.status.overhead_s for each in done)
        if measured_s:
            taken = duration(seconds * taken_s / measured_s)
            how = f"as fast as the {len(done)} that are done, they take about {taken}, and boots come on top"
        elif suffix:
            how = "boots come on top, and on an emulated board its emulator's speed decides how long that is"
        else:
            how = "boots, guests and workloads come on top"
        those = "1 cell" if cells == 1 else f"{cells} cells"
        yield f"{board}: {those}, in which cyclictest measures for {duration(seconds)}{suffix}; {how}"


def _what_it_can_say(cells: Sequence[Cell]) -> str:
    """How rare a late wake-up the cells can rule out, at the point that is measured least, and what more would take."""
    wakeups: Counter[tuple[str, int]] = Counter()
    for cell in cells:
        wakeups[cell.axes.rpartition("_r")[0], cell.interval_us] += cell.loops
    (_, interval_us), least = min(wakeups.items(), key=lambda each: exposure.hours(each[1], each[0][1]))
    hours = exposure.hours(least, interval_us)
    one_in, an_hour = 1 / exposure.probability_bounded(least), exposure.rate_bounded(hours)
    hour, needed = exposure.hours_needed(1.0), exposure.wakeups_needed(1e-6)
    return (
        f"Each point has {least:,} wake-ups or more, {hours * 3600:,.0f} s of the board's clock. If none is late, at "
        f"most one in {one_in:,.0f} is, and {an_hour:,.{0 if an_hour >= 10 else 2}f} an hour (95 %); 'at most one an "
        f"hour' takes {hour:.1f} h, one in a million {needed:,} wake-ups, none of them late (docs/statistics.md)."
    )


def _way(request: Request, cell: Cell) -> str:
    """How a cell is measured, and of a board that is measured sealed why one is not."""
    reason = why_over_ssh(cell, request.lab, request.catalogue)
    if not reason:
        return "sealed"
    return f"over SSH: {reason}" if request.lab.boards[cell.board].sealed else "over SSH"


def _status(args: argparse.Namespace) -> int:
    request = _load_measured(args)
    found = request.tree.read(request.matrix.name, request.matrix.cells)
    bad = unusable(found)
    damaged = {each.path for each in bad}
    records = {each.cell.id: each for each in found if isinstance(each, Record) and each.path not in damaged}
    pending = {cell.id for cell in request.matrix.cells if cell.id not in records or not records[cell.id].output}
    now = running(request.tree.root / request.matrix.name / "log")
    counts = [
        (
            experiment.name,
            board,
            Counter(_state(cell, pending, records) for cell in experiment.cells if cell.board == board),
        )
        for experiment in request.matrix.experiments
        for board in dict.fromkeys(cell.board for cell in experiment.cells)
    ]
    failed = {
        cell.id: records[cell.id].status.reason
        for cell in request.matrix.cells
        if _state(cell, pending, records) == "failed"
    }
    if args.json:
        found_now = {
            "matrix": request.matrix.name,
            "title": request.matrix.title,
            "counts": [
                {"experiment": name, "board": board, **{state: states[state] for state in _STATES}}
                for name, board, states in counts
            ],
            "failed": failed,
            "damaged": {each.name: each.reason for each in bad},
            "running": [asdict(each) for each in now],
        }
        print(json.dumps(found_now, indent=2))
        return BAD_RECORDS if bad else DONE
    table = Table(title=f"{request.matrix.name}: {request.matrix.title}", title_justify="left")
    for heading in ("experiment", "board", *_STATES):
        table.add_column(heading, justify="right" if heading in _STATES else "left")
    for name, board, states in counts:
        table.add_row(name, board, *(str(states[state]) for state in _STATES))
    _stdout().print(table)
    for cell_id, reason in failed.items():
        tell(f"failed: {cell_id}: {printable(reason)}")
    for each in bad:
        tell(f"damaged: {each.name}: {printable(each.reason)}")
    for run in now:
        for line in _now_lines(run):
            tell(line)
    if not now:
        args.only, args.repetitions = [], request.matrix.repetitions
        say(f"next: {_again('matrix' if pending else 'verdict', args)}")
    return BAD_RECORDS if bad else DONE


_STATES = ("done", "failed", "pending")


def _now_lines(run: Now) -> Iterator[str]:
    """What a run does now, what each board does, and where its log is."""
    left = "no cell has ended yet" if run.left_s is None else f"about {duration(run.left_s)} left, boots on top"
    cells = f", {run.cells_ended} of {run.cells_to_do} cells, {left}" if run.cells_to_do else ""
    yield f"running for {duration(run.elapsed_s)}: {run.stage}{cells}"
    for host, task in run.doing.items():
        yield f"  {host}: {task}"
    yield f"  log: {run.log}"


def _state(cell: Cell, pending: set[str], records: dict[str, Record]) -> str:
    if cell.id not in pending:
        return "done"
    return "failed" if cell.id in records else "pending"


def _report(args: argparse.Namespace) -> int:
    with _without_collector():
        return _make_report(args)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """What a report reads lives to its end; to look through it for garbage takes a tenth of the time and finds none."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _make_report(args: argparse.Namespace) -> int:
    request = _load_measured(args)
    found = _read_measured(request)
    bad = unusable(found)
    _name_bad_records(bad)
    is_smaller = _report_page(request, found)
    return BAD_RECORDS if bad or is_smaller else DONE


def _read_measured(request: Request) -> list[Record | BadRecord]:
    """All records of a matrix, bad ones too; raises UsageError where there is none."""
    found = request.tree.read(request.matrix.name, request.matrix.cells)
    if not found:
        raise UsageError(
            f"{request.tree.root} holds no results of matrix '{request.matrix.name}'; run 'rtvirt matrix' first."
        )
    return found


def _report_page(request: Request, found: Sequence[Record | BadRecord]) -> bool:
    """Write the page of what was found and print its path; says whether it has fewer measured cells than before."""
    report = _report_writer()(request.matrix, request.tree, found)
    if report.kept:
        say(report.kept)
    print(report.page, flush=True)
    return bool(report.kept)


def _report_writer() -> Callable[[Matrix, ResultsTree, Sequence[Record | BadRecord]], Report]:
    """What writes the page. Raises InputError when the extra ``report`` is not installed."""
    with extra("report"):
        from rtvirt_runner.report.page import write_report
    return write_report


def _verdict(args: argparse.Namespace) -> int:
    request = _load_measured(args)
    found = _read_measured(request)
    bad = unusable(found)
    _name_bad_records(bad)
    records = [each for each in found if isinstance(each, Record)]
    answers = _tell_verdicts(request.matrix, records, args.budget, as_json=args.json)
    if bad:
        return BAD_RECORDS
    return FAILED_CELLS if "does not meet" in answers else NOT_TOLD if "cannot be told" in answers else DONE


def _tell_verdicts(matrix: Matrix, records: Sequence[Record], budget: str | None, *, as_json: bool = False) -> set[str]:
    """Print the verdicts; returns the answers for the budget that decides: the one named, or the matrix's first."""
    with extra("report"):
        from rtvirt_runner.cli import verdict
    budgets = verdict.budgets_of(matrix, budget)
    found = verdict.verdicts_of(matrix, records, budgets)
    for line in [verdict.as_json(found)] if as_json else verdict.lines(found):
        tell(line)
    return {each.answer for each in found if each.budget is budgets[0]}


def _claims(args: argparse.Namespace) -> int:
    request = _load_measured(args)
    with extra("report"):
        from rtvirt_runner.cli import claims
    bad = unusable(_read_measured(request))
    _name_bad_records(bad)
    if args.markdown:
        print(claims.as_markdown(request.matrix, request.tree), end="")
        return BAD_RECORDS if bad else DONE
    found = claims.read_claims(request.matrix, request.tree)
    if args.json:
        print(claims.as_json(found))
    else:
        for line in claims.lines(found):
            tell(line)
    return BAD_RECORDS if bad else DONE


def _compare(args: argparse.Namespace) -> int:
    from rtvirt_runner.cli import compare

    if not (args.exact or args.since):
        return _compare_sets(args)
    if args.gate or args.across:
        raise UsageError("--gate and --across are about repetitions, not about bins; leave them or --exact out.")
    if args.since:
        if args.results:
            raise UsageError("compare takes either two results folders or --since, not both; leave one out.")
        before, after = compare.measure_since(
            args.since, collection.matrix_path(args.matrix or FIRST_MATRIX), args.into.absolute()
        )
    elif len(args.results) == 2:
        before, after = args.results
    else:
        raise UsageError(f"compare got {len(args.results)} results folders, expected two, or --since REV.")
    bad = [*compare.bad_records(before), *compare.bad_records(after)]
    _name_bad_records(bad)
    rows = compare.compare(before, after)
    if args.json:
        print(compare.as_json(rows))
    else:
        _stdout().print(compare.exact_table(rows))
        tell(compare.summary(rows))
    if bad:
        return BAD_RECORDS
    return DONE if compare.all_same(rows) else FAILED_CELLS


def _compare_sets(args: argparse.Namespace) -> int:
    from rtvirt_runner.cli import compare

    with extra("report"):  # scipy
        from rtvirt_runner.cli import compare_sets

    if len(args.results) != 2:
        raise UsageError(f"compare got {len(args.results)} results folders, expected two, or --since REV.")
    if not 0 < args.margin <= 1000:
        raise UsageError(f"--margin is {args.margin:g}, expected a percentage above 0, up to 1000; correct it.")
    before, after = args.results
    bad = [*compare.bad_records(before), *compare.bad_records(after)]
    _name_bad_records(bad)
    found = compare_sets.compare_folders(before, after, args.matrix, args.across, 1 + args.margin / 100)
    if args.json:
        print(compare_sets.as_json(found))
    else:
        for table in [] if args.gate else compare_sets.tables(found):
            _stdout().print(table)
        tell(compare_sets.summary(found))
    if bad:
        return BAD_RECORDS
    statuses = {"worse": FAILED_CELLS, "better": DONE, "same": DONE}
    return statuses.get(found.change, NOT_TOLD)


def _capsule(args: argparse.Namespace) -> int:
    from rtvirt_runner.cli import capsule

    written = capsule.write_capsule(args.results, args.cell, args.output)
    for reason in written.left_out:
        say(f"left out: {reason}")
    say(written.summary)
    print(written.archive, flush=True)
    return DONE


def _ssh(args: argparse.Namespace) -> int:
    if args.command and args.command[0].startswith("-"):
        raise UsageError(
            f"{args.command[0]} comes after {args.host}, where the command for it is expected; put it before."
        )
    found = _connection(args.host, args)
    cli_boards.replace_process(found.command(args.command))


def _console(args: argparse.Namespace) -> int:
    if args.lines < 1:
        raise UsageError(f"--lines is {args.lines}, expected 1 or more; correct it.")
    board = cli_boards.board_of(args.host)
    found = _connection(board, args)
    if board != args.host:
        cli_boards.replace_process(found.command(cli_boards.guest_console(args.lines, args.follow)))
    path = cli_boards.console_path(found)
    say(f"the console of {found.name} is {path}")
    with contextlib.suppress(KeyboardInterrupt):
        for line in cli_boards.last_lines(path, args.lines, args.follow):
            tell(line)
    return DONE


def _connection(host: str, args: argparse.Namespace) -> cli_boards.Connection:
    groups, _ = read_inventory(args.inventory)
    return cli_boards.find_connection(host, groups, args.inventory.absolute())


def _converge(args: argparse.Namespace) -> int:
    host_cpus, slash, guest_cpus = args.split.partition("/")
    if not slash:
        raise UsageError(
            f"--split is '{args.split}', expected cores of host and guest with a slash, such as 0/1; correct it."
        )
    state = cli_boards.board_state(args.kernel, args.tuning, host_cpus, guest_cpus, args.guest)
    groups, hostvars = read_inventory(args.inventory)
    lab = Lab.from_inventory(groups, hostvars, collection.inventory_folder(args.inventory))
    catalogue = Catalogue.load(collection.VARS, lab)
    for board in _known_boards(args, groups):
        state_cell(state, board, lab, catalogue)  # what is wrong is found before a board is touched
    hints = [f"rtvirt inspect {args.boards[0]}", f"rtvirt ssh {args.boards[0]}", f"rtvirt reset {args.boards[0]}"]
    return _play(args, collection.CONVERGE, {"rtvirt_state": state}, hints)


def _reset(args: argparse.Namespace) -> int:
    _known_boards(args, read_inventory(args.inventory)[0])
    return _play(args, collection.RESET, {}, [])


def _reprovision(args: argparse.Namespace) -> int:
    _known_boards(args, read_inventory(args.inventory)[0])
    extravars = {"rtvirt_card_device": args.card} if args.card else {}
    if args.rotate_identity:
        extravars["rtvirt_rotate_identity"] = True
    return _play(args, collection.REPROVISION, extravars, [f"rtvirt ssh {args.boards[0]}"])


def _trace(args: argparse.Namespace) -> int:
    threshold = read_threshold(args.threshold, "--threshold")
    request = _load(args)
    cell = cli_trace.traced_cell(request.matrix, args.board, args.cell, request.inventory)
    with extra("report"):  # its absence is found now, not after the trace
        import rtvirt_runner.report.traces  # noqa: F401 - only to see whether it can be
    say(f"tracing cell {cell.id}")
    before = request.tree.traces(request.matrix.name).get(cell.id, [])
    outcome = cli_trace.trace(request.matrix, request.tree, cell, threshold, request.inventory, args)
    found = [path for path in request.tree.traces(request.matrix.name).get(cell.id, []) if path not in before]
    if outcome.interrupted:
        say(f"interrupted; to go on: {args.typed}")
        return INTERRUPTED
    if not outcome.ok or not found:
        _show_failures(outcome)
        return FAILED_CELLS
    trace = read_trace(found[-1])
    for sentence in trace.sentences:
        tell(sentence)
    print(found[-1], flush=True)
    return FAILED_CELLS if trace.latency_us is None else DONE


def _known_boards(args: argparse.Namespace, groups: Mapping[str, Sequence[str]]) -> Sequence[str]:
    for board in args.boards:
        checked_yaml.known(board, groups.get("boards", []), "board", str(args.inventory))
    boards: Sequence[str] = args.boards
    return boards


def _play(args: argparse.Namespace, playbook: Path, extravars: Mapping[str, Any], hints: Sequence[str]) -> int:
    """Run a playbook for boards; on success name the commands that one may want next."""
    outcome = cli_boards.play(playbook, args.boards, args.inventory.absolute(), extravars, args.check, args.verbose)
    if outcome.interrupted:
        say(f"interrupted; to go on: {args.typed}")
        return INTERRUPTED
    if not outcome.ok:
        _show_failures(outcome)
        return FAILED_CELLS
    if args.check:
        say(f"nothing was changed; what would be is in {outcome.log}")
    elif hints:
        lab = [] if args.inventory == collection.VIRTUAL_LAB else ["-i", str(args.inventory)]
        say(f"next: {', '.join(shlex.join([*hint.split(), *lab]) for hint in hints)}")
    return DONE


def _inspect(args: argparse.Namespace) -> int:
    groups, hostvars = read_inventory(args.inventory)
    checked_yaml.known(args.board, groups.get("boards", []), "board", str(args.inventory))
    if args.hwlat and not 0 < args.hwlat <= 3600:
        raise InputError(f"--hwlat is {args.hwlat}, expected seconds from 1 to 3600; correct it.")
    if args.preflight or args.hwlat:
        board = Lab.from_inventory(groups, hostvars, collection.inventory_folder(args.inventory)).boards[args.board]
        return _preflight(args, board, hostvars[args.board].get("kvm_host_fallback") == "emulate")
    outcome, state = cli_inspect.read_state(args.board, args.inventory.absolute())
    if not state:
        _show_failures(outcome)
        return INTERRUPTED if outcome.interrupted else FAILED_CELLS
    if holder := cli_inspect.holder(state):
        tell(holder)
    if cli_inspect.groups(state):
        _stdout().print(cli_inspect.inspection_table(state, args.all))
    tell(cli_inspect.summary(state))
    return DONE if cli_inspect.all_as_wanted(state) else FAILED_CELLS


def _preflight(args: argparse.Namespace, board: Board, may_emulate: bool) -> int:
    asked = {"rtvirt_preflight": True, "rtvirt_hwlat_s": args.hwlat}
    outcome, state = cli_inspect.read_state(args.board, args.inventory.absolute(), **asked)
    if not state:
        _show_failures(outcome)
        return INTERRUPTED if outcome.interrupted else FAILED_CELLS
    asked_of_it = {"cpus": [f"0-{board.cpus - 1}"], "may_emulate": may_emulate, "clock": board.clock}
    found = preflight.checks(state["facts"], preflight.wanted_of(asked_of_it, time.time()))
    _stdout().print(cli_inspect.preflight_table(args.board, found))
    tell(cli_inspect.preflight_summary(args.board, found))
    return FAILED_CELLS if preflight.failures(found) else DONE


def _kernels(args: argparse.Namespace) -> int:
    outcome, state = cli_kernels.read_state(args.inventory.absolute())
    if not state:
        _show_failures(outcome)
        return INTERRUPTED if outcome.interrupted else FAILED_CELLS
    _stdout().print(cli_kernels.kernels_table(state))
    return DONE


def _build_kernels(args: argparse.Namespace) -> int:
    outcome = cli_kernels.build_kernels(args.names, args.inventory.absolute(), args.verbose)
    if outcome.interrupted:
        return INTERRUPTED
    if not outcome.ok:
        _show_failures(outcome)
        return FAILED_CELLS
    return _kernels(args)


def _cache(args: argparse.Namespace) -> int:
    folder = artifacts.cache_folder()
    entries = cache.entries(folder)
    if args.json:
        print(cli_cache.as_json(entries, folder))
    else:
        _stdout().print(cli_cache.cache_table(entries, f"the cache {folder}", args.all))
    return DONE


def _prune_cache(args: argparse.Namespace) -> int:
    """Exit status 1 when the cache is still larger than requested: the room is not there."""
    kinds = {cache.Kind(kind) for kind in args.kind} if args.kind else cache.PRUNABLE
    pruned = cache.prune(artifacts.cache_folder(), cli_cache.parse_size(args.to), kinds, args.dry_run)
    if pruned.removed:
        _stdout().print(cli_cache.cache_table(pruned.removed, "would go" if args.dry_run else "removed", True))
    _stdout().print(cli_cache.cache_table(pruned.left, "would stay" if args.dry_run else "left", False))
    for failure in pruned.failures:
        say(failure)
    tell(cli_cache.summary(pruned, args.dry_run))
    return DONE if pruned.reached else FAILED_CELLS


def _test(args: argparse.Namespace) -> int:
    if args.tier is not None:
        raise UsageError(
            f"--tier {args.tier} is not an option any more, expected the tier's folder: rtvirt test tests/{args.tier}"
        )
    if not collection.TESTS.is_dir():
        raise UsageError(f"{collection.ROOT} has no tests, expected a clone of rtvirt; run ./rtvirt test there.")
    os.chdir(collection.ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-n", "auto", *args.for_pytest])


# --------------------------------------------------------------------------------------------------------- showing


def _stdout() -> SafeConsole:
    console = SafeConsole()
    if not console.is_terminal:  # names are long, and a pipe has no terminal width
        console.width = 200
    return console


def _show_stages(stages: Sequence[Stage]) -> None:
    table = Table(title="what took how long", title_justify="left")
    table.add_column("stage")
    table.add_column("time", justify="right")
    for stage in stages:
        table.add_row(stage.name, duration(stage.seconds))
    SafeConsole(stderr=True).print(table)


def _show_failures(outcome: Outcome) -> None:
    for failure in outcome.failures:
        say(f"the task '{failure.task}' failed on {failure.host}: {failure.message}")
    say(f"Ansible's whole output is in {outcome.log}")
