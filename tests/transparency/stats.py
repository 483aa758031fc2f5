"""What `doppel run --stats=FILE` must say for a run to count: that the block really ran in the clone.

FILE is JSON: {"whole": bool, "functions": [{"function", "calls", "remote", "local", "cut", "aborted", "reasons", ...}]};
a --whole run has one entry, the process itself."""

import json


def read(path):
    """The statistics as a dictionary; ValueError when there are none."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"no statistics: {error}") from error


def total(stats, key):
    """The sum of a number over all functions."""
    return sum(entry.get(key, 0) for entry in stats.get("functions", []))


def reasons(stats):
    """Why blocks were run on the device or ended early, as one string."""
    found = {}
    for entry in stats.get("functions", []):
        for text, count in entry.get("reasons", {}).items():
            found[text] = found.get(text, 0) + count
    return "; ".join(f"{text} (x{count})" for text, count in sorted(found.items()))


def problems(row, mode, stats):
    """What is wrong, one line each: too few blocks in the clone, or blocks on the device that the row does not allow."""
    found = []
    if bool(stats.get("whole")) != (mode == "whole"):
        found.append(f"the statistics say whole={stats.get('whole')}")
    allowed = row.whole_local_ok if mode == "whole" else row.local_ok
    least = 1 if mode == "whole" else row.remote_min
    if total(stats, "remote") < (0 if allowed else least):
        found.append(f"{total(stats, 'remote')} blocks ran in the clone, at least {least} should have ({reasons(stats)})")
    home = total(stats, "local") + total(stats, "aborted")
    if home and not allowed:
        found.append(f"{home} blocks ran on the device ({reasons(stats)})")
    return found


def summary(stats):
    """One line for the diagnostics."""
    keys = ("calls", "remote", "local", "cut", "aborted", "bytes_out", "bytes_in")
    line = " ".join(f"{key}={total(stats, key)}" for key in keys)
    return line + (f" reasons: {reasons(stats)}" if reasons(stats) else "")
