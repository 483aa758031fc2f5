"""Clusters of replicated stores on this machine for tests: members with ports of loopback, their data on a disk."""

import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from clone_host import on_disk


class Member:
    """One process of a cluster; start() and healthy() are its kind's."""

    def __init__(self, name, directory):
        self.name, self.directory = name, pathlib.Path(directory)
        self.directory.mkdir()
        self.process = None

    def launch(self, command, **options):
        """Begins it; it goes on from its data, if it has some."""
        with open(self.directory / "log", "ab") as log:
            # In a group of its own: an interrupt of the test is for the test to handle.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0, **options)

    def said(self):
        """The end of its log."""
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    def kill(self):
        """SIGKILL."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self, frozen):
        """Stops it without ending it, or lets it go on."""
        self.process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)


class Cluster:
    """Members; a context manager that removes all of it. Its kind says what program it is, and makes members."""

    PROGRAM, PACKAGE = None, None

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"doppel-{self.PROGRAM}-", dir=on_disk()))
        self.members = []

    @classmethod
    def missing(cls):
        """Why there can be no cluster here, or None."""
        if not shutil.which(cls.PROGRAM):
            return f"there is no {cls.PROGRAM} (package {cls.PACKAGE})"
        return None if on_disk() else "there is no directory for temporary files on a disk"

    def start(self, *members):
        """Starts these members, or all, and waits until they are healthy."""
        for member in members or self.members:
            member.start()
        self.wait(*members)

    def wait(self, *members, patience=180):
        """Waits until these members, or all, are healthy."""
        limit = time.monotonic() + patience
        for member in members or self.members:
            while not member.healthy():
                if time.monotonic() > limit or member.process.poll() is not None:
                    raise RuntimeError(f"{self.PROGRAM}: {member.name} does not start: {member.said()}")
                time.sleep(0.1)

    def find_leader(self, leads, patience=120):
        """The first member that runs and of which leads() is true."""
        limit = time.monotonic() + patience
        while time.monotonic() < limit:
            for member in self.members:
                if member.process and leads(member):
                    return member
            time.sleep(0.1)
        raise RuntimeError(f"{self.PROGRAM}: no leader is chosen")

    def mend(self):
        """Starts those that do not run."""
        gone = [member for member in self.members if not member.process]
        if gone:
            self.start(*gone)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
