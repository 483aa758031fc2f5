"""Adds up the results of a folder: meson's testlog.json files and TAP files. The last line printed is the sum.

SUITE.again.json holds what of SUITE.json failed and was run a second time, by itself. That run counts; where it went well, what had failed
is named as unsteady.

`count.py --failed SUITE.json` prints the names of the tests of it that failed, as meson wants them."""

import json
import pathlib
import re
import sys

LINE = re.compile(r"^(not )?ok\b\s*\d*\s*-?\s*(.*?)(?:\s*#\s*(SKIP|TODO)\b\s*(.*))?$", re.IGNORECASE)


WELL = ("OK", "EXPECTEDFAIL", "SKIP")


class Count:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []
        self.unsteady = []

    def tap(self, where, text):
        """Counts the lines of one TAP stream; how many there were."""
        seen = 0
        lines = text.splitlines()
        for line, following in zip(lines, lines[1:] + [""]):
            match = LINE.match(line)
            if not match:
                continue
            seen += 1
            wrong, name, directive, reason = match.groups()
            if directive and directive.upper() == "SKIP":
                self.skipped.append(f"{where}: {name}: {reason or 'no reason given'}")
            elif wrong:
                self.failed.append(f"{where}: {name}{why(following)}")
            else:
                self.passed += 1
        return seen

    def meson(self, where, test):
        """One test program, by its TAP where it prints TAP, else by its exit status."""
        name, result = f"{where}: {test['name']}", test["result"]
        failures = len(self.failed)
        lines = self.tap(name, test.get("stdout", "")) if result != "SKIP" else 0
        if result in ("OK", "EXPECTEDFAIL"):
            self.passed += lines == 0
        elif result == "SKIP":
            self.tap(name, test.get("stdout", "")) or self.skipped.append(f"{name}: {reason(test)}")
        elif len(self.failed) == failures:
            # It died or never ended: no line of its own says so.
            self.failed.append(f"{name}: {result.lower()}: {last_words(test)}")


def why(line):
    """What a TAP stream says of a failure in the line after it."""
    return f" ({line[1:].strip()[:400]})" if line.startswith("#") else ""


def tests_of(path):
    """The tests of one of meson's testlog.json files, by name."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return {test["name"]: test for test in map(json.loads, lines)}


def count_suite(count, path):
    """One run of a suite, with what of it was run again."""
    again = tests_of(path.with_suffix(".again.json"))
    for name, test in tests_of(path).items():
        second = again.get(name)
        if second:
            first = Count()
            first.meson(path.stem, test)
            if second["result"] == "OK":
                count.unsteady += first.failed
        count.meson(path.stem, second or test)


def last_words(test):
    """What a test said before it died: its "Bail out!", or the last line that meson did not write itself."""
    lines = [line for line in test.get("stdout", "").splitlines() if line.strip() and not line.startswith("(test program")]
    return next((line for line in lines if line.startswith("Bail out!")), lines[-1] if lines else "no output")


def reason(test):
    match = re.search(r"^1\.\.0\s*#\s*SKIP\w*\s*(.*)$", test.get("stdout", ""), re.MULTILINE | re.IGNORECASE)
    return match.group(1) if match and match.group(1) else "no reason given"


def main():
    if sys.argv[1] == "--failed":
        print("\n".join(name.rpartition(" / ")[2] for name, test in tests_of(pathlib.Path(sys.argv[2])).items() if test["result"] not in WELL))
        return 0
    count = Count()
    for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        if path.suffix == ".tap":
            count.tap(path.stem, path.read_text(errors="replace"))
        elif path.suffix == ".json" and not path.name.endswith(".again.json"):
            count_suite(count, path)
    for text in count.skipped:
        print(f"skipped: {text}")
    for text in count.unsteady:
        print(f"unsteady: {text}")
    for text in count.failed:
        print(f"failed: {text}")
    print(f"{count.passed} passed, {len(count.failed)} failed, {len(count.skipped)} skipped")
    # Nothing at all is no success.
    return 0 if count.passed and not count.failed else 1


sys.exit(main())
