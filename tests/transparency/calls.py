"""Counts how often a native run calls the functions of a row, with gdb: a row whose function is never called tests nothing."""

import re
import shlex
import subprocess

HUGE = 1 << 30


def _location(function):
    """gdb's words for what doppel calls FUNCTION: LIB:SYMBOL, symbol, demangled prefix, or 0xADDRESS."""
    if function.startswith("0x"):
        return "*" + function
    library, separator, symbol = function.partition(":")
    if separator and not symbol.startswith(":") and ".so" in library:
        return symbol
    return function


def count(stage):
    """{function: calls} of one native run of the stage's row, under gdb, its script not played."""
    row = stage.row
    script = ["set pagination off", "set breakpoint pending on", "set confirm off", "set follow-fork-mode parent",
              "set debuginfod enabled off", "handle all nostop noprint pass", "handle SIGTRAP stop nopass"]
    for number, function in enumerate(row.functions, 1):
        script += [f"break {_location(function)}", f"ignore {number} {HUGE}"]
    source = stage.base / "gdb-commands"
    kind, _, name = row.stdin.partition(":")
    given = f"< {stage.prepared / name}" if kind in ("file", "pipe") else "< /dev/null"
    script += [f"run {shlex.join(stage.command()[1:])} {given} > {stage.base}/gdb-out 2> {stage.base}/gdb-err", "info breakpoints"]
    source.write_text("\n".join(script) + "\n", encoding="utf-8")
    subprocess.run(["rm", "-rf", str(stage.work)], check=True)
    subprocess.run(["cp", "-a", str(stage.prepared), str(stage.work)], check=True)
    done = subprocess.run(["gdb", "-nx", "-batch", "-x", str(source), stage.command()[0]], cwd=stage.work,
                          env=stage.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=row.timeout * 3, check=False)
    text = done.stdout.decode(errors="replace")
    listing = text[text.rfind("Num     Type"):]
    found = dict.fromkeys(row.functions, 0)
    for block in re.split(r"\n(?=\d+ +(?:hw )?breakpoint)", listing):
        number = re.match(r"(\d+) +(?:hw )?breakpoint", block)
        hits = re.search(r"already hit (\d+) time", block)
        if number and hits:
            found[row.functions[int(number.group(1)) - 1]] = int(hits.group(1))
    return found
