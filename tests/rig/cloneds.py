"""Directories for tests: cloneds, started, killed and asked; users by directory-user (tests/integration/directory)."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import time

from clone_host import free_port


class Cloneds:
    """cloneds with a state directory."""

    LIMITS = ("--rate", "0")  # of one address' questions: the tests' users have one

    def __init__(self, cloneds, user, state, *options):
        self.cloneds, self.user, self.state, self.options = cloneds, user, pathlib.Path(state), options
        self.log = self.state.parent / f"{self.state.name}.log"
        self.process, self.address, self.key, self.words = None, f"127.0.0.1:{free_port()}", None, []  # before it: nsenter …

    def start(self):
        """Listens when this returns, where it did before."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        begun = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.words, self.cloneds, "serve", "--state", self.state, "--listen", self.address,
                                             *self.LIMITS, *self.options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        limit = time.monotonic() + 60
        while time.monotonic() < limit and self.process.poll() is None:
            found = re.search(r"listening on (\S+); the directory's key is (\S+)\s", self.log.read_text()[begun:])
            if found:
                self.address, self.key = found.groups()
                return self
            time.sleep(0.02)
        raise RuntimeError(f"cloneds does not serve: {self.log.read_text()[-2000:]}")

    def share_key(self, other):
        """Takes the key of another one, of the same operator."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(other.state / "directory.key", self.state / "directory.key")

    def end(self, number=signal.SIGTERM):
        """Its exit status."""
        if not self.process:
            return 0
        self.process.send_signal(number)
        status = self.process.wait(timeout=120)
        self.process = None
        return status

    def run(self, verb, *words):
        """Another verb, when it has ended."""
        return subprocess.run([self.cloneds, verb, *words, "--state", self.state], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)

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
        return subprocess.Popen([self.user, what, f"{self.address}={self.key}", str(first), str(count), str(threads)],
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
        done = subprocess.run([self.user, "find", f"{self.address}={self.key}", str(number), "1", "1"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=False)
        return done.returncode == 0, time.monotonic() - begin


def accepted(out):
    """{user: number} of directory-user's lines, but for one that is not whole."""
    lines = out[:out.rfind("\n") + 1].splitlines()
    return {f"user{line.split()[0]}": int(line.split()[1]) for line in lines if not line.startswith("#")}
