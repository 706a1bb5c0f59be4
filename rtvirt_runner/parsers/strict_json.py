"""JSON as RFC 8259 has it and no more, within limits, so that every value can be compared, shown and written again."""

from __future__ import annotations

import json
import math
from collections import Counter
from sys import intern
from typing import Any, NoReturn

MOST_LEVELS = 64  # of nesting; what rtvirt and its tools write has six
MOST = 2**64 - 1  # that a whole number may be


def loads(text: str) -> Any:
    """The value of a JSON text.

    Raises ValueError, whose message is a clause, when the text is no JSON (NaN and Infinity are not), gives a key
    twice, has a number beyond 64 bits, half a surrogate pair, or is nested more than MOST_LEVELS deep.
    """
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("{") + text.count("[") > MOST_LEVELS:
        _check_levels(value)
    if "\\ud" in text or "\\uD" in text:
        _check_strings(value)
    return value


_TOO_DEEP = f"it is nested more than {MOST_LEVELS} levels deep"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # one copy of a key for all documents: ten thousand records have the same
    values = {intern(key): value for key, value in pairs}
    if len(values) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"key '{twice[:60]}' is given twice")
    return values


def _int(text: str) -> int:
    if len(text) > 21 or abs(value := int(text)) > MOST:
        raise ValueError(f"number {text[:24]} is beyond 64 bits")
    return value


def _float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"number {text[:24]} is beyond a double")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant)


def _check_levels(value: Any) -> None:
    level, levels = [value], 0
    while level := [each for each in level if isinstance(each, (dict, list))]:
        levels += 1
        if levels > MOST_LEVELS:
            raise ValueError(_TOO_DEEP)
        level = [child for each in level for child in (each.values() if isinstance(each, dict) else each)]


def _check_strings(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it has half a surrogate pair (\\ud800 to \\udfff) in a string") from None
