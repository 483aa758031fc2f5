"""A clone host for tests: doppeld with a state of its own, and devices paired with it."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time


HELD = []  # sockets


def free_port():
    """A TCP port of loopback for who asks for it, by SO_REUSEADDR: nobody is given it by chance as long as this process lives."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    HELD.append(held)
    return held.getsockname()[1]


def in_memory(path):
    """Whether what is there is kept in memory only, which no synchronisation enters."""
    mounts = [line.split()[1:3] for line in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    parents = [str(path), *map(str, pathlib.Path(path).parents)]
    above = [(len(point), kind) for point, kind in mounts if point in parents]
    return max(above, default=(0, ""), key=lambda found: found[0])[1] in ("tmpfs", "ramfs")


def on_disk():
    """Where temporary files go that are to be synchronised."""
    return next((place for place in (tempfile.gettempdir(), "/var/tmp") if not in_memory(place)), None)


def process_table():
    """{pid: (parent's pid, state letter, name)} of everything that runs."""
    table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                fields = file.read()
        except OSError:
            continue
        rest = fields[fields.rindex(b")") + 2:].split()
        name = fields[fields.index(b"(") + 1:fields.rindex(b")")].decode(errors="replace")
        table[int(entry)] = (int(rest[1]), rest[0].decode(), name)
    return table


def descendants(root):
    """The live processes below `root`, parents before children."""
    table, found, front = process_table(), [], [root]
    while front:
        front = [pid for pid, (parent, state, _) in table.items() if parent in front and state not in "ZX"]
        found += front
    return found


def invite(doppeld, state, *addresses):
    """An invitation to the clone host with this state directory; RuntimeError with its words where it gives none."""
    where = [word for address in addresses for word in ("--address", address)]
    done = subprocess.run([doppeld, "invite", "--state", str(state), *where], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    if done.returncode or not done.stdout.split():
        raise RuntimeError(f"doppeld invite: {done.stderr.strip()}")
    return done.stdout.split()[-1]


def end(pid):
    """SIGKILL, to a process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class CloneHost:
    """doppeld, started and stopped; `words` come before it (nsenter …)."""

    def __init__(self, doppeld, state, address=None, root="/", words=(), options=()):
        self.doppeld, self.state, self.root, self.words = doppeld, pathlib.Path(state), root, list(words)
        self.options = list(options)  # of "doppeld serve", besides
        self.address = address or f"127.0.0.1:{free_port()}"
        self.log = self.state.parent / (self.state.name + ".log")
        self.process = None

    def start(self, patience=60):
        """Starts it and waits until it says that it can be invited to."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        root = ["--root", str(self.root)] if self.root else []  # without: what each device synchronised
        command = [*self.words, self.doppeld, "serve", *root, "--state", str(self.state), "--listen", self.address, *self.options]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        limit = time.monotonic() + patience
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"doppeld does not start: {self.said()}")
            time.sleep(0.02)

    def _listens(self):
        host, _, port = self.address.rpartition(":")
        connect = ["/bin/bash", "-c", f"exec 3<>/dev/tcp/{host}/{port}"]
        done = subprocess.run([*self.words, *connect], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    def said(self):
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def invite(self, *addresses):
        """An invitation for one device, which will find the host at `addresses`."""
        return invite(self.doppeld, self.state, *(addresses or [self.address]))

    def processes(self, name=None):
        """What runs below doppeld: its sessions, their sandboxes and mirrors; those called `name` only."""
        table = process_table()
        found = descendants(self.process.pid) if self.process else []
        return [pid for pid in found if pid in table and (name is None or table[pid][2] == name)]

    def sessions(self):
        """The processes that doppeld has forked itself."""
        table = process_table()
        return [pid for pid, (parent, state, _) in table.items()
                if self.process and parent == self.process.pid and state not in "ZX"]

    def kill(self):
        """SIGKILL, to doppeld alone."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it and everything below it. What is left after that, as [(pid, name)]."""
        if not self.process:
            return []
        below = self.processes()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
        limit = time.monotonic() + 30
        while (left := [pid for pid in below if process_table().get(pid, (0, "X"))[1] not in "ZX"]) and time.monotonic() < limit:
            time.sleep(0.02)
        for pid in left:
            end(pid)
        self.process = None
        return left


class Device:
    """A device's identity: a state directory. Commands get its environment."""

    def __init__(self, doppel, state):
        self.doppel, self.state = doppel, pathlib.Path(state)
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)

    def environment(self):
        """The caller's, with this device's keys."""
        return {**os.environ, "XDG_STATE_HOME": str(self.state)}

    def pair(self, invitation, name, words=()):
        """`doppel pair`; a completed process."""
        return subprocess.run([*words, self.doppel, "pair", "--name", name, invitation], env=self.environment(),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=180, check=False)
