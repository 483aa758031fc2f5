"""A NATS cluster with JetStream on this machine for tests."""

import json
import urllib.request

import cluster
from clone_host import free_port

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


class Server(cluster.Member):
    """One nats-server."""

    def __init__(self, name, directory, payload):
        super().__init__(name, directory)
        self.payload = payload
        self.address, self.route, self.monitor = (f"127.0.0.1:{free_port()}" for _ in range(3))

    def configure(self, servers):
        """Writes its configuration; `servers`: all of the cluster."""
        words = {**vars(self), "routes": ", ".join(f'"nats://{other.route}"' for other in servers if other is not self)}
        text = (CONFIGURATION + (CLUSTER if len(servers) > 1 else "")).format(**words)
        (self.directory / "conf").write_text(text)

    def start(self):
        """Starts it."""
        self.launch(["nats-server", "-c", str(self.directory / "conf")])

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


class Cluster(cluster.Cluster):
    """Servers that make one cluster, or one that is alone."""

    PROGRAM = PACKAGE = "nats-server"

    def __init__(self, count=3, payload="9MB"):
        super().__init__()
        self.members = [Server(f"n{i}", self.directory / f"n{i}", payload) for i in range(count)]
        for server in self.members:
            server.configure(self.members)

    def uri(self, name="test", servers=None):
        """For clonedocd's --log."""
        return f"nats://{','.join(server.address for server in servers or self.members)}/{name}"

    def leader(self, name="test"):
        """The server that leads this log's stream, as those say that run."""
        def leads(server):
            said = {other.streams().get(f"doppel-{name}") for other in self.members if other.process}
            return server.name in said
        return self.find_leader(leads)
