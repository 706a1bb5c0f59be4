"""One tool per module, its text or JSON in, plain values out. Nothing here runs a tool or knows a machine."""


class ParseError(ValueError):
    """A tool's output cannot be understood; the message is one sentence that says what is wrong with it."""
