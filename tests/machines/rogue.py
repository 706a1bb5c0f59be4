"""A thread that makes a wake-up late on purpose, as a workload of the tests' lab."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from playing import LAB_FOLDER

ROGUE_US = 3000
ROGUE = f"""\
#define _POSIX_C_SOURCE 200809L
#include <time.h>

static long long now(void)
{{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}}

int main(void)
{{
    const struct timespec pause = {{0, 70300000}};
    for (;;) {{
        nanosleep(&pause, NULL);
        const long long end = now() + {ROGUE_US} * 1000LL;
        while (now() < end)
            ;
    }}
}}
"""


def lab_with_rogue(folder: Path, inventory: Path = LAB_FOLDER / "inventory") -> Path:
    """Make a copy of a lab, by default the tests', that has the workload ``rogue``; returns its inventory."""
    shutil.copytree(inventory, folder / "lab")
    (folder / "lab" / "rogue.c").write_text(ROGUE)
    rogue = {"rogue": {"title": "a thread of FIFO 97", "sources": ["rogue.c"], "command": "chrt -f 97 rtvirt-rogue"}}
    with (folder / "lab" / "group_vars" / "all.yml").open("a") as stream:
        yaml.safe_dump({"rtvirt_lab_workloads": rogue}, stream)
    return folder / "lab" / "hosts.yml"
