"""A stand-in for Kconfig: keeps of a configuration what the tree has and what its dependencies allow, and says nothing.

python3 conf.py CONFIG OUTPUT, in the root of the tree.
"""

import re
import sys
from pathlib import Path

depends: dict[str, list[str]] = {}
values: dict[str, str] = {}
for kconfig in sorted(Path().rglob("Kconfig*")):
    symbol = ""
    for line in kconfig.read_text().splitlines() if kconfig.is_file() else ():
        word, _, rest = line.strip().partition(" ")
        if word == "config":
            symbol = rest
            depends.setdefault(symbol, [])
        elif word == "depends":
            depends[symbol].append(rest.removeprefix("on "))
        elif (word, rest) == ("default", "y"):
            values[symbol] = "y"

for line in Path(sys.argv[1]).read_text().splitlines():
    if match := re.fullmatch(r"CONFIG_(\w+)=(.*)|# CONFIG_(\w+) is not set", line):
        values[match[1] or match[3]] = match[2] or "n"
values = {symbol: value for symbol, value in values.items() if symbol in depends}


def allowed(symbol: str) -> bool:
    """Whether each of its dependencies, X or !X, holds."""
    return all((values.get(term.strip("!"), "n") == "n") == term.startswith("!") for term in depends[symbol])


while denied := [symbol for symbol, value in values.items() if value != "n" and not allowed(symbol)]:
    values |= dict.fromkeys(denied, "n")
shown = {symbol: value for symbol, value in values.items() if allowed(symbol)}
lines = [
    f"CONFIG_{symbol}={value}" if value != "n" else f"# CONFIG_{symbol} is not set" for symbol, value in shown.items()
]
Path(sys.argv[2]).write_text("\n".join(lines) + "\n")
