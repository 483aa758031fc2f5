"""An etcd cluster on this machine for tests."""

import json
import os
import urllib.request

import cluster
from clone_host import free_port


class Member(cluster.Member):
    """One etcd process."""

    def __init__(self, name, directory):
        super().__init__(name, directory)
        self.address, self.peer = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.cluster = None  # "NAME=URL,..." of all

    def start(self):
        """Starts it."""
        command = ["etcd", "--name", self.name, "--data-dir", str(self.directory / "data"),
                   "--listen-client-urls", f"http://{self.address}", "--advertise-client-urls", f"http://{self.address}",
                   "--listen-peer-urls", f"http://{self.peer}", "--initial-advertise-peer-urls", f"http://{self.peer}",
                   "--initial-cluster", self.cluster, "--initial-cluster-state", "new", "--initial-cluster-token", "doppel-test",
                   "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "10m", "--logger", "zap"]
        environment = {"PATH": os.environ["PATH"]}
        if os.uname().machine == "aarch64":
            environment["ETCD_UNSUPPORTED_ARCH"] = "arm64"
        self.launch(command, env=environment)

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


class Cluster(cluster.Cluster):
    """Members that make one cluster."""

    PROGRAM, PACKAGE = "etcd", "etcd-server"

    def __init__(self, count=3):
        super().__init__()
        self.members = [Member(f"m{i}", self.directory / f"m{i}") for i in range(count)]
        for member in self.members:
            member.cluster = ",".join(f"{other.name}=http://{other.peer}" for other in self.members)

    def uri(self, prefix="doppel"):
        """For --store."""
        return f"etcd://{','.join(member.address for member in self.members)}/{prefix}"

    def leader(self):
        """The member that leads now."""
        return self.find_leader(Member.leads)
