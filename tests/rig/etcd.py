"""An etcd cluster on this machine for tests: members with ports of loopback, their data on a disk."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

from clone_host import free_port, on_disk


class Member:
    """One etcd process."""

    def __init__(self, name, directory, client, peer):
        self.name, self.directory = name, pathlib.Path(directory)
        self.address, self.peer = f"127.0.0.1:{client}", f"127.0.0.1:{peer}"
        self.process = None

    def start(self, cluster):
        """Starts it; it goes on from its data, if it has some. `cluster`: "NAME=URL,..." of all."""
        command = ["etcd", "--name", self.name, "--data-dir", str(self.directory / "data"),
                   "--listen-client-urls", f"http://{self.address}", "--advertise-client-urls", f"http://{self.address}",
                   "--listen-peer-urls", f"http://{self.peer}", "--initial-advertise-peer-urls", f"http://{self.peer}",
                   "--initial-cluster", cluster, "--initial-cluster-state", "new", "--initial-cluster-token", "doppel-test",
                   "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "10m", "--logger", "zap"]
        with open(self.directory / "log", "ab") as log:
            # In a group of its own: an interrupt of the test is for the test to handle.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={"PATH": os.environ["PATH"], "ETCD_UNSUPPORTED_ARCH": "arm64"}
                                            if os.uname().machine == "aarch64" else {"PATH": os.environ["PATH"]})

    def post(self, path, body, timeout=5):
        """One request to its JSON gateway."""
        request = urllib.request.Request(f"http://{self.address}{path}", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as answer:
            return json.load(answer)

    def healthy(self):
        """Whether it answers a linearizable read: it is up, and the cluster has a leader."""
        try:
            self.post("/v3/kv/range", {"key": "AA=="}, timeout=10)
            return True
        except (OSError, ValueError):
            return False

    def leads(self):
        """Whether it is the leader."""
        try:
            status = self.post("/v3/maintenance/status", {}, timeout=10)
            return status["leader"] == status["header"]["member_id"]
        except (OSError, ValueError, KeyError):
            return False

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
    """Members that make one cluster; a context manager that removes all of it."""

    def __init__(self, count=3):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="doppel-etcd-", dir=on_disk()))
        self.members = []
        for i in range(count):
            (self.directory / f"m{i}").mkdir()
            self.members.append(Member(f"m{i}", self.directory / f"m{i}", free_port(), free_port()))
        self.cluster = ",".join(f"{member.name}=http://{member.peer}" for member in self.members)

    @staticmethod
    def missing():
        """Why there can be no cluster here, or None."""
        if not shutil.which("etcd"):
            return "there is no etcd (package etcd-server)"
        return None if on_disk() else "there is no directory for temporary files on a disk"

    def uri(self, prefix="doppel"):
        """For --store."""
        return f"etcd://{','.join(member.address for member in self.members)}/{prefix}"

    def start(self, *members):
        """Starts these members, or all, and waits until they answer."""
        for member in members or self.members:
            member.start(self.cluster)
        self.wait(*members)

    def wait(self, *members, patience=180):
        """Waits until these members, or all, answer."""
        limit = time.monotonic() + patience
        for member in members or self.members:
            while not member.healthy():
                if time.monotonic() > limit or member.process.poll() is not None:
                    raise RuntimeError(f"etcd's {member.name} does not start: {self.said(member)}")
                time.sleep(0.1)

    @staticmethod
    def said(member):
        """The end of its log."""
        return (member.directory / "log").read_text(errors="replace")[-2000:]

    def leader(self, patience=120):
        """The member that leads now."""
        limit = time.monotonic() + patience
        while time.monotonic() < limit:
            for member in self.members:
                if member.process and member.leads():
                    return member
            time.sleep(0.1)
        raise RuntimeError("etcd's members choose no leader")

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
