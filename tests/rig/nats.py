"""A NATS cluster with JetStream on this machine for tests: servers with ports of loopback, their data on a disk."""

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

CONFIGURATION = """
server_name: {name}
listen: "{address}"
http: "{monitor}"
max_payload: {payload}
jetstream: {{store_dir: "{directory}/data", max_memory_store: 64MB, max_file_store: 4GB}}
"""
CLUSTER = """
cluster: {{name: doppel-test, listen: "{route}", routes: [{routes}]}}
"""


class Server:
    """One nats-server."""

    def __init__(self, name, directory, payload):
        self.name, self.directory, self.payload = name, pathlib.Path(directory), payload
        self.address, self.route, self.monitor = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.process = None

    def configure(self, servers):
        """Writes its configuration; `servers`: all of the cluster."""
        words = {**vars(self), "routes": ", ".join(f'"nats://{other.route}"' for other in servers if other is not self)}
        text = (CONFIGURATION + (CLUSTER if len(servers) > 1 else "")).format(**words)
        (self.directory / "conf").write_text(text)

    def start(self):
        """Starts it; it goes on from its data, if it has some."""
        with open(self.directory / "log", "ab") as log:
            # In a group of its own: an interrupt of the test is for the test to handle.
            self.process = subprocess.Popen(["nats-server", "-c", str(self.directory / "conf")], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, process_group=0)

    def ask(self, path):
        """What its monitor says."""
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{self.monitor}/{path}", timeout=10) as answer:
            return json.load(answer)

    def healthy(self):
        """Whether it is up, and has all that it is to have."""
        try:
            return self.ask("healthz")["status"] == "ok"
        except (OSError, ValueError, KeyError):
            return False

    def streams(self):
        """{name: leader} of the streams it has a copy of."""
        try:
            accounts = self.ask("jsz?streams=true").get("account_details") or []
            return {stream["name"]: stream.get("cluster", {}).get("leader")
                    for account in accounts for stream in account.get("stream_detail") or []}
        except (OSError, ValueError, KeyError):
            return {}

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
    """Servers that make one cluster, or one that is alone; a context manager that removes all of it."""

    def __init__(self, count=3, payload="9MB"):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="doppel-nats-", dir=on_disk()))
        self.servers = []
        for i in range(count):
            (self.directory / f"n{i}").mkdir()
            self.servers.append(Server(f"n{i}", self.directory / f"n{i}", payload))
        for server in self.servers:
            server.configure(self.servers)

    @staticmethod
    def missing():
        """Why there can be no cluster here, or None."""
        if not shutil.which("nats-server"):
            return "there is no nats-server (package nats-server)"
        return None if on_disk() else "there is no directory for temporary files on a disk"

    def uri(self, name="test", servers=None):
        """For clonedocd's --log."""
        return f"nats://{','.join(server.address for server in servers or self.servers)}/{name}"

    def start(self, *servers):
        """Starts these servers, or all, and waits until they are healthy."""
        for server in servers or self.servers:
            server.start()
        self.wait(*servers)

    def wait(self, *servers, patience=180):
        """Waits until these servers, or all, are healthy."""
        limit = time.monotonic() + patience
        for server in servers or self.servers:
            while not server.healthy():
                if time.monotonic() > limit or server.process.poll() is not None:
                    raise RuntimeError(f"NATS' {server.name} does not start: {self.said(server)}")
                time.sleep(0.1)

    @staticmethod
    def said(server):
        """The end of its log."""
        return (server.directory / "log").read_text(errors="replace")[-2000:]

    def leader(self, name="test", patience=120):
        """The server that leads this log's stream."""
        limit = time.monotonic() + patience
        while time.monotonic() < limit:
            for server in self.servers:
                leader = server.streams().get(f"doppel-{name}") if server.process else None
                found = [other for other in self.servers if other.name == leader and other.process]
                if found:
                    return found[0]
            time.sleep(0.1)
        raise RuntimeError("NATS' servers choose no leader")

    def mend(self):
        """Starts those that do not run."""
        gone = [server for server in self.servers if not server.process]
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
        for server in self.servers:
            server.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
