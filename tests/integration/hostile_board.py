"""In the place of a board's shell: answers as it likes, in ways that are known beforehand.

    hostile_board.py SEED COUNT FIRST STEP

Of COUNT cells the board has those from FIRST on in steps of STEP. What reads a cell's state or measures it is answered
in the way that ``order`` says, anything else honestly. Ways whose names begin with "honest" are whole and true.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CELLS = Path("/run/cells")  # how many were begun
MIB = 1 << 20
_END = b"exit 0\n}\n"  # of a script that holds the machine; its standard input stays open behind it
_JSON = re.compile(rb"@file cyclictest.json\n(.*?)\n@end cyclictest.json\n", re.DOTALL)
_NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1",
    "0.5",
    "true",
    "null",
    '"5"',
    "[5]",
    "{}",
    str(10**30),
    "9" * 5000,
]

Chance = random.Random
Way = Callable[[bytes, Chance], object]


def run(script: bytes) -> bytes:
    """What a shell answers that is sent this script and goes on listening."""
    with subprocess.Popen(["sh", "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None and shell.stdout is not None
        shell.stdin.write(script)
        shell.stdin.flush()
        if not script.endswith(_END):
            shell.stdin.close()
        return shell.stdout.read()


def say(answer: bytes) -> None:
    """Write all of it."""
    view = memoryview(answer)
    while view:
        view = view[os.write(1, view) :]


def changed(script: bytes, change: Callable[[bytes], bytes]) -> None:
    """Answer with a change in the content of cyclictest.json."""
    answer = run(script)
    found = _JSON.search(answer)
    assert found is not None
    say(answer[: found.start(1)] + change(found[1]) + answer[found.end(1) :])


def in_thread(script: bytes, change: Callable[[dict[str, object]], None]) -> None:
    """Answer with a change of what cyclictest says of its thread."""

    def change_thread(content: bytes) -> bytes:
        values = json.loads(content)
        change(values["thread"]["0"])
        return json.dumps(values).encode()

    changed(script, change_thread)


# ---------------------------------------------------------------------------------------------------------------- ways


def in_pieces(script: bytes, chance: Chance) -> None:
    answer = run(script)
    while answer:
        size = chance.randrange(1, 1 + max(1, len(answer) // 10))
        say(answer[:size])
        answer = answer[size:]
        time.sleep(0.02)


def with_errors(script: bytes, chance: Chance) -> None:
    for _ in range(8):
        os.write(2, b"\x1b[31merror\n" * (MIB // 11))
    say(run(script))


def drips(script: bytes, chance: Chance) -> None:
    while True:
        say(b"@fact not yet\n")
        time.sleep(0.05)


def again_and_again(script: bytes, chance: Chance) -> None:
    answer = run(script).rpartition(b"@whole")[0]
    while True:
        say(answer)


def gigabyte(script: bytes, chance: Chance) -> None:
    for _ in range(1024):
        say(b"a" * MIB)


def truncated(script: bytes, chance: Chance) -> None:
    answer = run(script)
    say(answer[: chance.randrange(len(answer) - 2)])


def many_rows(script: bytes, chance: Chance) -> None:
    say(b"@row irqs a=1\n" * (15 * MIB // 14) + run(script))


def broken_text(script: bytes, chance: Chance) -> None:
    bad = chance.choice([b"\xe2\x82", b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b"\xc0\x80"])
    changed(script, lambda content: content.replace(b'"histogram": {', b'"histogram": {' + bad, 1))


def other_loops(count: int) -> Way:
    return lambda script, chance: say(run(re.sub(rb"(?m)^LOOPS=.*$", b"LOOPS=%d" % count, script)))


def hole(script: bytes, chance: Chance) -> None:
    def without_some(content: bytes) -> bytes:
        begins, lost = 0, b" "
        while not lost.strip():
            begins = content.index(b'"histogram"') + chance.randrange(12, 30)
            lost = content[begins : begins + chance.randrange(1, 20)]
        return content[:begins] + content[begins + len(lost) :]

    changed(script, without_some)


def number(script: bytes, chance: Chance) -> None:
    key, value = chance.choice(["min", "max", "avg", "cycles"]), chance.choice(_NUMBERS)
    changed(
        script,
        lambda content: re.sub(rb'("%s": *)[0-9.]+' % key.encode(), rb"\g<1>" + value.encode(), content, count=1),
    )


def inconsistent(script: bytes, chance: Chance) -> None:
    def change(thread: dict[str, object]) -> None:
        counts = thread["histogram"]
        assert isinstance(counts, dict)
        key = chance.choice(["min", "max", "avg", "cycles", "bucket", "moved"])
        if key in ("bucket", "moved"):
            latency = chance.choice([*counts])
            counts[latency] += 1
            if key == "moved":
                counts[str(int(latency) + 3000)] = counts.pop(latency) - 1
        else:
            thread[key] += 2 if key != "avg" else 10  # type: ignore[operator]

    in_thread(script, change)


def two_threads(script: bytes, chance: Chance) -> None:
    def change(content: bytes) -> bytes:
        values = json.loads(content)
        values["thread"]["1"] = values["thread"]["0"]
        values["num_threads"] = 2
        return json.dumps(values).encode()

    changed(script, change)


def killed(script: bytes, chance: Chance) -> None:
    say(run(script)[:1000])
    os.kill(os.getpid(), 9)


def leaves(status: int) -> Way:
    return lambda script, chance: sys.exit(status)


def sentence(said: bytes) -> Way:
    return lambda script, chance: say(b"@fail " + said + b"\n@whole 1\n")


def status(script: bytes, chance: Chance) -> None:
    other = chance.choice([b"3", b"-1", b"", b"0x0", b"00", b"9" * 5000, b"0 0", "\u0660".encode()])
    say(run(script).replace(b"@whole 0", b"@whole " + other))


def file_named(name: bytes) -> Way:
    return lambda script, chance: say(b"@file %s\nmine\n@end %s\n" % (name, name) + run(script))


HONEST: dict[str, Way] = {
    "honest": lambda script, chance: say(run(script)),
    "honest, in pieces": in_pieces,
    "honest, after seconds": lambda script, chance: (time.sleep(3), say(run(script))),
    "honest, beside a greeting": lambda script, chance: say(
        b"\x1b[2JWelcome\r\n@welcome \xff\n" + run(script) + b"Bye\n"
    ),
    "honest, beside 8 MiB of errors": with_errors,
}
BOTH: dict[str, Way] = {
    "late": lambda script, chance: time.sleep(100_000),
    "drips": drips,
    "again and again": again_and_again,
    "1 GiB in one line": gigabyte,
    "cut off": truncated,
    "without its end": lambda script, chance: say(run(script).rpartition(b"@whole")[0]),
    "garbage": lambda script, chance: say(chance.randbytes(chance.randrange(100_000))),
    "HTTP": lambda script, chance: say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}\r\n"),
    "other marks": lambda script, chance: say(re.sub(rb"(?m)^@", b"%", run(script))),
    "UTF-16": lambda script, chance: say(run(script).decode(errors="replace").encode("utf-16")),
    "compressed": lambda script, chance: say(gzip.compress(run(script))),
    "nothing, status 0": leaves(0),
    "nothing, status 255": leaves(255),
    "killed": killed,
    "another status": status,
    "failed and whole": lambda script, chance: say(b"@fail No.\n" + run(script)),
    "escapes": sentence(b"\x1b]0;mine\x07\x1b[2J\x1b[1;31m\xe2\x80\xae=cmd|' /C calc'!A0\x9b5m"),
    "lines in one": sentence(b"one\rrtvirt: all cells are done\x0b\x0c\x85\xe2\x80\xa8<script>two</script>"),
    "no UTF-8": sentence(b"\xff\xfe\xe2\x82 \xed\xa0\x80"),
    "a long sentence": sentence(b"no " * 300_000),
    "a million rows": many_rows,
    "a row of a million values": lambda script, chance: say(b"@row irqs" + b" a=1" * MIB + b"\n" + run(script)),
    "a million lines": lambda script, chance: say(b"a\n" * MIB + run(script)),
    "a thousand files": lambda script, chance: say(
        b"".join(b"@file %d\nx\n@end %d\n" % (each, each) for each in range(1000)) + run(script)
    ),
}
CELL: dict[str, Way] = {
    "a hole in it": hole,
    "a number that is none": number,
    "numbers that do not agree": inconsistent,
    "two threads": two_threads,
    "a cell with more loops": other_loops(250),
    "ended early": other_loops(150),
    "half of a character": broken_text,
    "brackets": lambda script, chance: changed(script, lambda content: b"[" * 200_000),
    "no files": lambda script, chance: say(b"@fact began_uptime_s 1\n@fact ended_uptime_s 2\n@whole 0\n"),
    "a second file": lambda script, chance: say(
        run(script).replace(b"@whole 0", b"@file cyclictest.json\n{}\n@end cyclictest.json\n@whole 0")
    ),
    "a file elsewhere": file_named(b"../../../elsewhere"),
    "a file of the record": file_named(b"status.json"),
}
ALL = {**HONEST, **BOTH, **CELL}
SLOW = ("late", "drips")  # take all of the time that there is


def order(seed: int, count: int) -> list[tuple[str, str, str]]:
    """How so many cells are answered: their state, their measurement, their state after it. Each once, then again."""
    answers = [("honest", way, "honest") for way in [*HONEST, *BOTH, *CELL]]
    answers += [(way, "honest", "honest") for way in [*HONEST, *BOTH]]
    answers += [("honest", "honest", way) for way in [*HONEST, *BOTH]]
    random.Random(seed).shuffle(answers)
    # Without those that are slow where not all are taken.
    fast = [each for each in answers if not {*SLOW} & {*each}]
    return (answers * (1 + count // len(answers)) if count >= len(answers) else fast)[:count]


def read_script() -> bytes:
    """Standard input up to its end, or to that of a script behind which it stays open."""
    script = b""
    while chunk := os.read(0, MIB):
        script += chunk
        if b"\nhold_machine\n" in script and script.endswith(_END):
            break
    return script


def main(seed: int, count: int, first: int, step: int) -> None:
    asked = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    if "sh -s" not in asked:
        os.execvp("sh", ["sh", "-c", asked])
    script = read_script()
    asks_state, measures = b"\nLOAD_LIMIT_S=" in script, b"\nHISTOGRAM_US=" in script
    if not asks_state and not measures:
        say(run(script))
        return
    number = int(CELLS.read_text()) if CELLS.exists() else 0
    begins = asks_state and script.endswith(_END)
    if begins:
        CELLS.write_text(str(number + 1))
    else:
        number -= 1
    way = order(seed, count)[first::step][number][0 if begins else 1 if measures else 2]
    ALL[way](script, random.Random(f"{seed} {first} {number}"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
