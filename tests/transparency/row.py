"""One row of the table: a program, what of it is off-loaded, and what drives it.

A row is read from table.toml (README.md says what each key means). Everything that is wrong with a row is an error here,
so that a typing mistake in the table cannot turn a test off."""

import dataclasses
import pathlib
import tomllib

KEYS = {
    "name", "program", "functions", "needs", "setup", "stdin", "stdout", "script", "stderr", "remote_min", "local_ok",
    "whole", "whole_local_ok", "timeout", "environment", "tags", "ignore_files", "signal_ok",
}


@dataclasses.dataclass
class Row:
    """A row. `program` and `setup` may hold {programs}, the folder of the purpose-written programs."""

    name: str
    program: list
    functions: list = dataclasses.field(default_factory=list)
    needs: list = dataclasses.field(default_factory=list)
    setup: str = ""
    stdin: str = "null"
    stdout: str = "pipe"
    script: list = dataclasses.field(default_factory=list)
    stderr: str = "same"
    remote_min: int = 1
    local_ok: str = ""
    whole: bool = True
    whole_local_ok: str = ""
    timeout: int = 240
    environment: dict = dataclasses.field(default_factory=dict)
    tags: list = dataclasses.field(default_factory=list)
    ignore_files: list = dataclasses.field(default_factory=list)
    signal_ok: bool = False

    def modes(self):
        """The modes this row can be run in, of "function" and "whole"."""
        return (["function"] if self.functions else []) + (["whole"] if self.whole else [])


def _read(entry):
    unknown = set(entry) - KEYS
    if unknown:
        raise ValueError(f"row {entry.get('name')}: unknown keys {sorted(unknown)}")
    if not entry.get("name") or not entry.get("program"):
        raise ValueError(f"a row lacks a name or a program: {entry}")
    row = Row(**entry)
    for step in row.script:
        odd = set(step) - {"expect", "after_ms", "type", "signal", "close"}
        if odd:
            raise ValueError(f"row {row.name}: unknown script keys {sorted(odd)}")
    if row.stdin.split(":")[0] not in ("null", "terminal", "file", "pipe", "script"):
        raise ValueError(f"row {row.name}: stdin {row.stdin!r} is none of null, terminal, file:NAME, pipe:NAME, script")
    if not row.modes():
        raise ValueError(f"row {row.name}: neither a function nor whole: it would test nothing")
    return row


def _expand(group):
    """The rows of a group: its keys for each of its cases, a name or a table of other keys; {case} is replaced."""
    shared = {key: value for key, value in group.items() if key != "cases"}
    for case in group["cases"]:
        own = dict(case) if isinstance(case, dict) else {"case": case}
        name = own.pop("case")
        entry = shared | own
        entry["name"] = entry["name"].replace("{case}", name)
        entry["program"] = [word.replace("{case}", name) for word in entry["program"]]
        yield entry


def load(path):
    """All rows of the table at `path`, in its order. ValueError says what is wrong with it."""
    with open(path, "rb") as file:
        table = tomllib.load(file)
    entries = table.get("row", []) + [entry for group in table.get("group", []) for entry in _expand(group)]
    rows = [_read(entry) for entry in entries]
    names = [row.name for row in rows]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"row names used twice: {sorted(twice)}")
    return rows


def missing(row, programs):
    """Why this row cannot run here (a string for a SKIP line), or None. `programs` is the folder of built programs."""
    for path in row.needs + [row.program[0]]:
        path = path.format(programs=programs)
        if not pathlib.Path(path).exists():
            return f"{path} is not installed"
    return None
