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
import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.table import Table
from rich.tree import Tree

from rtvirt_runner.analysis import exposure
from rtvirt_runner.analysis.comparisons import ACROSS
from rtvirt_runner.build import artifacts, cache
from rtvirt_runner.catalogue import checked_yaml, collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.extras import extra
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.cli import cache as cli_cache
from rtvirt_runner.cli import inspect as cli_inspect
from rtvirt_runner.cli import kernels as cli_kernels
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, load_matrix
from rtvirt_runner.matrix.plan import measuring_s, plan
from rtvirt_runner.matrix.results import BadRecord, Record, ResultsError, ResultsTree, unusable
from rtvirt_runner.matrix.stored import read_stored, store_matrix, stored_matrices
from rtvirt_runner.matrix.ways import why_over_ssh
from rtvirt_runner.printable import printable
from rtvirt_runner.run.playbooks import InventoryError, Outcome, read_inventory, run_playbook
from rtvirt_runner.run.progress import Stage, duration
from rtvirt_runner.run.terminal import SafeConsole

if TYPE_CHECKING:
    from rtvirt_runner.report.page import Report

FIRST_MATRIX = "first"
NEXT = {"first": "'rtvirt matrix --matrix smoke', every kind of experiment, about half an hour on two cores"}
DONE, FAILED_CELLS, BAD_INPUT, BAD_RECORDS, NOT_TOLD, INTERRUPTED = 0, 1, 2, 3, 4, 130
MOST_TEST_WORKERS = 2  # each may have an emulated board, which keeps a core busy and needs memory

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
  rtvirt inspect virtual-cb2             what is wanted of a board and what it has, setting by setting
  rtvirt kernels                         the kernel catalogue, what of it is built, what runs where
  rtvirt kernels build linux-6.12-rt     make a kernel of it (docs/kernels.md)
  rtvirt cache                           what is kept between runs, what it takes, what of it is in use
  rtvirt cache prune --to 5GB            make room: what was used least recently goes first (docs/cache.md)
  rtvirt capsule results/first           an archive from which anybody runs its sealed cells again (docs/sealed-runs.md)
  rtvirt verdict                         whether each board meets the budget, with which tuning, how certainly
  rtvirt compare A B --gate              whether anything got worse, for a shell (docs/verdicts.md)
  rtvirt status                          how far a run is; ask from another terminal
  rtvirt test tests/lint tests/unit      some of the checks; rtvirt test --help says more

results:
  results/<matrix>/report/index.html     the page; cells.csv beside it has a row per cell
  results/<matrix>/<board>/<cell>/       one record per cell (docs/results-folder.md)
  results/<matrix>/log/                  the whole output of each run
Records that cannot be used are named with their reason, the others count, and plan, status, report, verdict and compare
end with exit status 3; matrix keeps them aside and measures their cells again.
Cells that are done are never measured again: an interrupted run goes on where it stopped. To measure a cell again,
remove its folder. Ctrl-C lets the cells that are being measured end and leaves the rest; a second one drops these too.
"""


_STORED = """\
Without -i, takes the matrix and its boards as they are stored with the results: a copy of a results folder, or of the
folder of one matrix in it, needs neither the matrix's file nor the inventory. With -i, reads both again.
"""

_VERDICT = f"""\
Says of each board of a matrix whether a real-time task with the matrix's budget can live in its guest: meets it, with
the cheapest tuning that does, does not meet it, or cannot be told, with margin, certainty, and what to do next. The
exit status is 0 when all boards meet the budget that decides, 1 when one does not, 3 when records cannot be used, 4
when none fails but not all can be told (docs/verdicts.md). {_STORED}"""

_COMPARE = """\
Point by point (a cell with all its repetitions), by average and p99: better, worse, same (within the margin), not told
(too few repetitions) or unlike (another kernel, board, clock, or sealed against over SSH: compared only with --across).
The exit status is 0 when all are better or the same, 1 when one is worse, 3 when records cannot be used, 4 when none is
worse but not all can be told. docs/verdicts.md says how. With --exact: of sealed machines, cell by cell and bin by bin,
status 0 when all bins are the same.
"""

_TESTS = """\
Hands over to pytest in the checkout, with a worker for each core, two at most; its exit status is pytest's (0 good,
1 failed, 5 nothing to run). Without options it is what CI runs. Tests are in folders from quick to slow: tests/lint,
tests/unit, tests/integration (this machine only) and tests/machines (emulated boards).

  --all            the slow tests too
  --changed [REV]  only slow tests that a change since REV can reach, and why each was picked; REV is a commit, by
                   default the one where the branch left its upstream, or else the commit before the last
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

    def pending(self) -> list[Cell]:
        return self.tree.pending(self.matrix.name, self.matrix.cells)

    def records(self) -> dict[str, Record]:
        """The records of this matrix by cell id."""
        return {record.cell.id: record for record in self.tree.load_records(self.matrix.name)}

    def bad_records(self) -> list[BadRecord]:
        """What is in the place of records of this matrix and cannot be used."""
        return unusable(self.tree.read(self.matrix.name))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = _parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown and args.run is not _test:  # passed on to pytest
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    args.for_pytest = unknown
    args.again = shlex.join(["rtvirt", *(sys.argv[1:] if argv is None else argv)])
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
        say(f"interrupted; to go on: {args.again}")
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

    common = _common_options()
    matrix = commands.add_parser("matrix", parents=[common], help="measure what is not done yet, then write the page")
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
    matrix.add_argument("-v", "--verbose", action="count", default=0, help="more from Ansible in the log; repeatable")
    matrix.set_defaults(run=_matrix)
    commands.add_parser(
        "plan", parents=[common], help="show what would be booted and measured, in order; touches no board"
    ).set_defaults(run=_plan)
    commands.add_parser(
        "status",
        parents=[common],
        description=_STORED,
        help="count done, failed and pending cells per experiment and board",
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
    _add_compare(
        commands.add_parser(
            "compare", description=_COMPARE, help="compare two result sets, or what two commits measure"
        )
    )
    _add_capsule(commands.add_parser("capsule", help="write an archive from which anybody runs sealed cells again"))
    _add_inspect(commands.add_parser("inspect", help="show what is wanted of a board and what it has, read from it"))
    _add_kernels(commands.add_parser("kernels", help="show the kernel catalogue, or build kernels of it"))
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


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("board", metavar="BOARD", help="a board of the inventory")
    parser.add_argument(
        "-i",
        "--inventory",
        type=Path,
        default=collection.VIRTUAL_LAB,
        metavar="PATH",
        help="the lab (default: virtual)",
    )
    parser.add_argument("--all", action="store_true", help="every file and thread, none folded into one line")
    parser.set_defaults(run=_inspect)


def _add_kernels(parser: argparse.ArgumentParser) -> None:
    inventory = argparse.ArgumentParser(add_help=False)
    inventory.add_argument(
        "-i",
        "--inventory",
        type=Path,
        default=collection.VIRTUAL_LAB,
        metavar="PATH",
        help="the lab (default: virtual)",
    )
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
        usage="rtvirt test [--all | --changed [REV]] [PATH ...] [any option of pytest]",
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
    matrix = load_matrix(path, lab, catalogue)
    return Request(matrix, inventory.absolute(), ResultsTree(args.results.absolute()), lab, catalogue)


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
    _report_writer()  # its absence is found now, not after hours of measuring
    _say_notes(request.matrix)
    store_matrix(request.tree, request.matrix, request.lab)
    pending = request.pending()
    if not pending:
        say(f"nothing left to do: all {len(request.matrix.cells)} cells of matrix '{request.matrix.name}' are done")
        return _finish(request)
    request.tree.refuse_newer(request.matrix.name, pending)
    _name_bad_records(request.bad_records())
    say(f"{len(pending)} of {len(request.matrix.cells)} cells to measure, see 'rtvirt plan'")
    outcome = _measure(request, pending, args)
    if outcome.interrupted:
        done = len(pending) - len(request.pending())
        say(f"interrupted, with {done} of {len(pending)} cells measured; the log is {outcome.log}")
        say(f"to go on: {args.again}")
        return INTERRUPTED
    _show_stages(outcome.stages)
    if not outcome.ok:
        _show_failures(outcome)
    code = _finish(request)
    return code if outcome.ok else FAILED_CELLS


def _measure(request: Request, pending: Sequence[Cell], args: argparse.Namespace) -> Outcome:
    extravars = {"rtvirt_matrix": str(request.matrix.path), "rtvirt_results_dir": str(request.tree.root)}
    return run_playbook(
        collection.FULL_MATRIX,
        request.inventory,
        extravars
        | ({"rtvirt_keep_boards": True} if args.keep_boards else {})
        | ({"rtvirt_sealed": False} if args.over_ssh else {})
        | ({"rtvirt_wait": True} if args.wait else {}),
        log_dir=request.tree.root / request.matrix.name / "log",
        verbosity=args.verbose,
        to_do=Counter(cell.board for cell in pending),
    )


def _finish(request: Request) -> int:
    """Name what is still not done, write the page, and print its path as the last thing on stdout."""
    left = _name_what_is_left(request)
    if request.records():
        with extra("report"):
            from rtvirt_runner.report.page import best_answers
        for answer in best_answers(request.matrix, request.tree):
            tell(answer)
        if not left and request.matrix.name in NEXT:
            say(f"next: {NEXT[request.matrix.name]}")
        _report_page(request, request.tree.read(request.matrix.name))
    return FAILED_CELLS if left else DONE


def _name_what_is_left(request: Request) -> int:
    pending = request.pending()
    for cell in pending:
        found = request.tree.find(request.matrix.name, cell)
        say(f"cell {cell.id} failed: {found.reason}" if found else f"cell {cell.id} was not measured")
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
    matrix = request.matrix
    tree = Tree(f"{matrix.name}: {matrix.title}: {len(matrix.cells)} cells, {len(pending)} pending")
    for boot in plan(matrix.cells):
        params = " ".join(boot.kernel_params) or "no extra parameters"
        boots = tree.add(f"{boot.board}: boot {boot.kernel}, {params}, repetition {boot.repetition}")
        for guest in boot.guests:
            name = f"guest {guest.name}, {guest.vcpus} vCPUs" if guest.vcpus else "no guest"
            settings = f", {len(guest.settings)} settings for cores {guest.guest_cpus}" if guest.settings else ""
            branch = boots.add(f"{name}{settings}")
            for cell in guest.cells:
                state = "pending" if cell.id in pending else "done   "
                branch.add(f"{state}  {cell.id}  ({_way(request, cell)})")
    _stdout().print(tree)
    for sentence in _times(request, [cell for cell in matrix.cells if cell.id in pending]):
        tell(sentence)
    tell(_what_it_can_say(matrix.cells))
    bad = request.bad_records()
    _name_bad_records(bad)
    return BAD_RECORDS if bad else DONE


def _times(request: Request, pending: Sequence[Cell]) -> Iterator[str]:
    """How long what is pending takes, a sentence per board; by the cells that are done there, if any."""
    records = [each for each in request.records().values() if each.output]
    for board, seconds in measuring_s(pending).items():
        cells = sum(cell.board == board for cell in pending)
        suffix = " of virtual time" if request.lab.boards[board].clock == "virtual" else ""
        done = [each for each in records if each.cell.board == board]
        measured_s = measuring_s(each.cell for each in done).get(board, 0.0)
        taken_s = sum(each.status.measure_s + each.status.overhead_s for each in done)
        yield f"{board}: {cells} cells, in which cyclictest measures for {duration(seconds)}{suffix}; " + (
            f"as fast as the {len(done)} that are done, they take about {duration(seconds * taken_s / measured_s)}, "
            "and boots come on top"
            if measured_s
            else "boots come on top, and on an emulated board its emulator's speed decides how long that is"
            if suffix
            else "boots, guests and workloads come on top"
        )


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
    found = request.tree.read(request.matrix.name)
    bad = unusable(found)
    damaged = {each.path for each in bad}
    records = {each.cell.id: each for each in found if isinstance(each, Record) and each.path not in damaged}
    pending = {cell.id for cell in request.matrix.cells if cell.id not in records or not records[cell.id].output}
    table = Table(title=f"{request.matrix.name}: {request.matrix.title}", title_justify="left")
    for heading in ("experiment", "board", "done", "failed", "pending"):
        table.add_column(heading, justify="right" if heading in ("done", "failed", "pending") else "left")
    for experiment in request.matrix.experiments:
        for board in dict.fromkeys(cell.board for cell in experiment.cells):
            states = Counter(_state(cell, pending, records) for cell in experiment.cells if cell.board == board)
            table.add_row(experiment.name, board, *(str(states[state]) for state in ("done", "failed", "pending")))
    _stdout().print(table)
    for cell in request.matrix.cells:
        if _state(cell, pending, records) == "failed":
            tell(f"failed: {cell.id}: {printable(records[cell.id].status.reason)}")
    for each in bad:
        tell(f"damaged: {each.name}: {printable(each.reason)}")
    return BAD_RECORDS if bad else DONE


def _state(cell: Cell, pending: set[str], records: dict[str, Record]) -> str:
    if cell.id not in pending:
        return "done"
    return "failed" if cell.id in records else "pending"


def _report(args: argparse.Namespace) -> int:
    request = _load_measured(args)
    found = request.tree.read(request.matrix.name)
    if not found:
        raise UsageError(
            f"{request.tree.root} holds no results of matrix '{request.matrix.name}'; run 'rtvirt matrix' first."
        )
    bad = unusable(found)
    _name_bad_records(bad)
    is_smaller = _report_page(request, found)
    return BAD_RECORDS if bad or is_smaller else DONE


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
    with extra("report"):
        from rtvirt_runner.cli import verdict
    budgets = verdict.budgets_of(request.matrix, args.budget)
    bad = request.bad_records()
    _name_bad_records(bad)
    found = verdict.read_verdicts(request.matrix, request.tree, budgets)
    if args.json:
        print(verdict.as_json(found))
    else:
        for line in verdict.lines(found):
            tell(line)
    if bad:
        return BAD_RECORDS
    answers = {each.answer for each in found if each.budget is budgets[0]}
    return FAILED_CELLS if "does not meet" in answers else NOT_TOLD if "cannot be told" in answers else DONE


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


def _inspect(args: argparse.Namespace) -> int:
    groups, _ = read_inventory(args.inventory)
    checked_yaml.known(args.board, groups.get("boards", []), "board", str(args.inventory))
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
    workers = min(MOST_TEST_WORKERS, len(os.sched_getaffinity(0)))
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-n", str(workers), *args.for_pytest])


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
