"""Parsers, one tool per module: from its text or JSON to plain values. Nothing here runs a tool."""


class ParseError(ValueError):
    """A tool's output cannot be parsed; the message is one sentence that says what is wrong with it."""
