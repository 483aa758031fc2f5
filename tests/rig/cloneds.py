"""Directories for tests: cloneds, started, killed and asked; users by directory-user (tests/integration/directory)."""

import json
import shutil
import subprocess
import time

from served import Served


class Cloneds(Served):
    """cloneds, and users of it."""

    def __init__(self, program, user, state, *options):
        super().__init__(program, state, *options)
        self.user = user

    def share_key(self, other):
        """Takes the key of another one, of the same operator."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(other.state / "directory.key", self.state / "directory.key")

    def call(self, verb, *words):
        """Another verb; its standard output. RuntimeError where it fails."""
        done = self.run(verb, *words)
        if done.returncode:
            raise RuntimeError(f"cloneds {verb}: {done.stderr.strip()} {done.stdout.strip()[-500:]}")
        return done.stdout

    def users(self):
        """{name: what list --json says}."""
        store = self.options[self.options.index("--store"):][:2] if "--store" in self.options else ()
        return {user["name"]: user for user in json.loads(self.call("list", "--json", *store))}

    def peers(self):
        """{name: what peer list --json says}."""
        return {peer["name"]: peer for peer in json.loads(self.call("peer", "list", "--json"))}

    def start_users(self, what, first, count, threads=1):
        """directory-user, running: "register", "find" or "keep"."""
        return subprocess.Popen([self.user, what, self.place, str(first), str(count), str(threads)],
                                stdin=subprocess.PIPE if what == "keep" else subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def register(self, first, count, threads=2):
        """{user: number} that were accepted."""
        out, err = self.start_users("register", first, count, threads).communicate(timeout=300)
        told = accepted(out)
        if len(told) != count:
            raise RuntimeError(f"{len(told)} of {count} were registered: {err.strip()}")
        return told

    def finds(self, number):
        """Whether user NUMBER is found, and the seconds it took."""
        begin = time.monotonic()
        done = subprocess.run([self.user, "find", self.place, str(number), "1", "1"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=False)
        return done.returncode == 0, time.monotonic() - begin


def accepted(out):
    """{user: number} of directory-user's lines, but for one that is not whole."""
    lines = out[:out.rfind("\n") + 1].splitlines()
    return {f"user{line.split()[0]}": int(line.split()[1]) for line in lines if not line.startswith("#")}
