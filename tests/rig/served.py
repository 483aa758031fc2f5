"""Servers with a state directory and a key (cloneds, clonedocd) for tests: started, killed and asked."""

import os
import pathlib
import re
import signal
import subprocess
import time

from clone_host import free_port


class Served:
    """One of them; a context manager, too."""

    LIMITS = ("--rate", "0")  # of what one address may ask: the tests' users have one

    def __init__(self, program, state, *options):
        self.program, self.state, self.options = program, pathlib.Path(state), options
        self.log = self.state.parent / f"{self.state.name}.log"
        self.process, self.address, self.key, self.words = None, f"127.0.0.1:{free_port()}", None, []  # before it: nsenter …

    def start(self):
        """Listens when this returns, where it did before."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        begun = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.words, self.program, "serve", "--state", self.state, "--listen", self.address,
                                             *self.LIMITS, *self.options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        limit = time.monotonic() + 120
        while time.monotonic() < limit and self.process.poll() is None:
            found = re.search(r"listening on (\S+); the \S+'s key is (\S+)\s", self.log.read_text()[begun:])
            if found:
                self.address, self.key = found.groups()
                return self
            time.sleep(0.02)
        raise RuntimeError(f"{self.program} does not serve: {self.log.read_text()[-2000:]}")

    @property
    def place(self):
        """ADDRESS=KEY, once it was started."""
        return f"{self.address}={self.key}"

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
        return subprocess.run([self.program, verb, *words, "--state", self.state], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False)

    def processor(self):
        """Seconds of the processor so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.end()
