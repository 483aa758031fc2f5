"""What the tests of the examples have in common: TAP, calls of a program, and the same call off-loaded."""

import json
import os
import subprocess


def wrong(what, holds, *details):
    """The problem, where there is one."""
    return None if holds else f"{what}: {details}"


class Suite:
    """A program, and a folder to run it in."""

    def __init__(self, program, folder, doppel=None):
        self.program, self.folder = os.path.abspath(program), folder
        self.doppel = os.path.abspath(doppel) if doppel else None
        self.environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "LC_ALL": "C.UTF-8"}
        self.number, self.good = 0, True

    def call(self, *words, under=()):
        """(status, output, standard error)."""
        command = [*map(str, under), self.program, *map(str, words)]
        done = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=600, check=False, cwd=self.folder)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def refusals(self, cases, status):
        """Problems of command lines that have to fail: {words: a part of what is said}."""
        problems = []
        for words, says in cases.items():
            result = self.call(*words)
            # A crash has another status, and no message of the program's.
            problems.append(wrong(words, result[0] == status and not result[1] and says in result[2], result))
        return problems

    def full_disk(self, status, *words):
        """Problems where what the program prints has no room."""
        with open("/dev/full", "wb") as full:
            done = subprocess.run([self.program, *map(str, words)], env=self.environment, stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, timeout=600, check=False, cwd=self.folder)
        return [wrong("full disk", done.returncode == status and b"the output cannot be written" in done.stderr, done)]

    def helps(self, *options):
        """Problems of --help: every option has to be there."""
        status, said, error = self.call("--help")
        return [wrong("--help", status == 0 and not error, status, error),
                *(wrong("--help does not tell", option in said, option) for option in options)]

    def same_off_loaded(self, functions, *words):
        """Problems of the program with each of the functions, and then all of it, in the local clone."""
        problems = []
        here = self.call(*words)
        for option in [["--function", function] for function in functions] + [["--whole"]]:
            stats = self.folder / "stats.json"
            stats.unlink(missing_ok=True)
            under = [self.doppel, "run", "--place", "clone", f"--stats={stats}", *option, "--"]
            there = self.call(*words, under=under)
            ran = json.loads(stats.read_text())["functions"][0] if stats.exists() else {"remote": 0}
            problems.append(wrong(f"{option}: differs", here == there, here, there))
            problems.append(wrong(f"{option}: not in the clone", ran["remote"] > 0, ran))
        return problems

    def report(self, name, problems):
        """One line of TAP."""
        self.number += 1
        problems = [problem for problem in problems if problem]
        self.good = self.good and not problems
        print(f"{'not ok' if problems else 'ok'} {self.number} - {name}", flush=True)
        for problem in problems:
            print("# " + str(problem).replace("\n", "\n# ")[:2000], flush=True)

    def finish(self):
        """The plan, and the status to exit with."""
        print(f"1..{self.number}", flush=True)
        return 0 if self.good else 1
