"""Places for tests: network namespaces with an address each, joined by one bridge, as machines of different people are by a network.

The caller is in a network namespace of its own already (alone()), so all of it goes away with the caller. Root."""

import os
import subprocess
import sys
import time

NETWORK = "10.88.0"
INSIDE = "DOPPEL_TEST_PLACES"


def alone():
    """Runs the caller again in a network namespace of its own, where it is not; why that cannot be, or None."""
    if os.environ.get(INSIDE):
        return None
    if os.geteuid() != 0:
        return "namespaces need root"
    trial = subprocess.run(["unshare", "--net", "ip", "link", "add", "name", "trial", "type", "bridge"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True, check=False)
    if trial.returncode:
        return f"no bridges can be made here: {trial.stderr.strip()}"
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", "--", sys.executable, *sys.argv])
    return None  # not reached


def ip(*words, inside=()):
    """ip(8)."""
    subprocess.run([*inside, "ip", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


class Place:
    """A network namespace; `words` before a command run it there."""

    def __init__(self, name, number):
        self.name, self.address = name, f"{NETWORK}.{number}"
        self.holder = subprocess.Popen(["unshare", "--net", "--", "sleep", "infinity"])
        own, until = os.readlink("/proc/self/ns/net"), time.monotonic() + 60
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == own:
            if time.monotonic() > until:
                raise RuntimeError("no namespace was made")
            time.sleep(0.01)
        self.words = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--"]
        cable = f"to-{name}"[:15]
        ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid)
        ip("link", "set", cable, "master", "bridge", "up")
        self.ip("address", "add", f"{self.address}/24", "dev", "eth0")
        self.ip("link", "set", "eth0", "up")
        self.ip("link", "set", "lo", "up")

    def ip(self, *words):
        """ip(8) there."""
        ip(*words, inside=self.words)

    def move(self, number):
        """Another address in place of the one it has. What was at the old one hears nothing more."""
        old, self.address = self.address, f"{NETWORK}.{number}"
        self.ip("address", "del", f"{old}/24", "dev", "eth0")
        self.ip("address", "add", f"{self.address}/24", "dev", "eth0")

    def take(self, number):
        """One more address."""
        self.ip("address", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        return f"{NETWORK}.{number}"

    def cable(self, state):
        """"up" or "down"."""
        self.ip("link", "set", "eth0", state)

    def close(self):
        """Ends it."""
        self.holder.kill()
        self.holder.wait()


class Places:
    """The bridge, and the places at it."""

    def __init__(self):
        ip("link", "set", "lo", "up")
        ip("link", "add", "name", "bridge", "type", "bridge")
        ip("link", "set", "bridge", "up")
        ip("address", "add", f"{NETWORK}.254/24", "dev", "bridge")
        self.all = []

    def make(self, name, number):
        """A place, whose address ends with `number`."""
        self.all.append(Place(name, number))
        return self.all[-1]

    def close(self):
        """All of them."""
        for place in self.all:
            place.close()
