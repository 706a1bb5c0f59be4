"""Names of what is stored of a traced run, beside the record of its cell (docs/late-wake-ups.md)."""

FILES = {"host": "trace-host.txt", "guest": "trace-guest.txt"}  # ftrace's text, by side
TRACE_FILE = "trace.json"  # numbers and words
RTLA_FILE = "rtla-timerlat.txt"  # what rtla says, where it is on the board
PICTURE = "late-wake-up.svg"
MORE_LOOPS = 10  # times the cell's own, in which a wake-up is to be later than the threshold
