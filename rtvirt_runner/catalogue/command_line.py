"""The kernel's command line, split as the kernel does it (Linux, lib/cmdline.c: next_arg, kernel/params.c).

The boards' side of it, which also joins command lines, is roles/kernel_boot/files/kernel_boot.sh: params_of.
"""

from __future__ import annotations


def split_params(line: str) -> list[str]:
    """The parameters for the kernel, in order, repeated ones too: up to a word ``--``, behind which all is for init.

    Spaces in double quotes belong to a word, and the quotes stay in it. A quote that is not closed goes on to the end.
    """
    params: list[str] = []
    word, quoted = "", False
    for letter in f"{line} ":
        if letter.isspace() and not quoted:
            if word == "--":
                return params
            if word:
                params.append(word)
            word = ""
        else:
            quoted ^= letter == '"'
            word += letter
    return [*params, word.strip()] if word.strip() else params


def normalized(param: str) -> str:
    """A parameter for comparison: ``-`` and ``_`` in its name are the same, and quotes around it or its value go."""
    name, separator, value = param.strip('"').partition("=")
    return f"{name.replace('-', '_')}{separator}{value.strip(chr(34))}"


def missing_params(wanted: list[str] | tuple[str, ...], line: str) -> list[str]:
    """Those of the parameters wanted that are not on a command line for the kernel."""
    there = {normalized(param) for param in split_params(line)}
    return [param for param in wanted if normalized(param) not in there]
