"""What the benches over the rig's links share: a device and its clone host in two network namespaces, programs
that are off-loaded between them, and the rows that come of it."""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "tests" / "rig"))
import clone_host  # noqa: E402

HOST, PORT = "10.77.0.2", 7433
MECHANISMS = "pull,push,known,changes"
RUN_OPTIONS = ["--place", "clone", "--clone", "far"]
KIB, MIB = 1 << 10, 1 << 20


class Overrun(Exception):
    """A run took longer than it may."""


# ---- the command line, and the rig around the device's part


def parser(doc, profiles, rounds):
    """The options that all of them have."""
    made = argparse.ArgumentParser(description=doc)
    build = os.environ.get("DOPPEL_BUILD", str(HERE.parent / "build"))
    made.add_argument("--build", default=build, help="build directory (default %(default)s)")
    made.add_argument("--profile", action="append", choices=["lan", "wifi", "lte", "3g", "none"],
                      help=f"link, may be given again (default: {', '.join(profiles)})")
    made.add_argument("-n", "--rounds", type=int, default=rounds, help="rounds, taken in turns (default %(default)s)")
    made.add_argument("--limit", type=float, default=300, help="seconds that one run may take (default %(default)s)")
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument("--on-device", help=argparse.SUPPRESS)
    made.set_defaults(profiles=profiles)
    return made


def parse(made):
    """The options of this process: what the user asked for, or on the device what the rig's other side did."""
    options = made.parse_args()
    options.build = str(pathlib.Path(options.build).resolve())
    options.profile = options.profile or options.profiles
    if options.rounds < 1:
        made.error("--rounds needs a positive number")
    if os.geteuid() != 0:
        sys.exit("this makes network namespaces and a clone host: run it as root")
    return options


def on_rig(options, profile):
    """Runs this same script in the rig as the device, over this link; what it wrote with answer()."""
    with tempfile.TemporaryDirectory(prefix="doppel-bench.") as folder:
        rig = [f"{options.build}/tests/rig/doppel-rig", "exec", "--profile", profile, "--"]
        again = [sys.executable, *sys.argv, "--build", options.build, "--on-device", folder]
        done = subprocess.run([*rig, *again], stdout=sys.stderr, check=False)
        if done.returncode:
            raise RuntimeError(f"the bench on the link {profile} ended with {done.returncode}")
        return json.loads((pathlib.Path(folder) / "answer.json").read_text(encoding="utf-8"))


def answer(options, value):
    """What on_rig() returns on the other side."""
    (pathlib.Path(options.on_device) / "answer.json").write_text(json.dumps(value), encoding="utf-8")


def on_host():
    """The words that start a command on the host's side of this rig."""
    return ["nsenter", f"--net={os.environ['RIG_HOST_NS']}"]


def link_bytes(build):
    """What the rig's link has carried so far, both ways together, with the headers of IP and TCP."""
    done = subprocess.run([f"{build}/tests/rig/doppel-rig", "control", "stats"], stdout=subprocess.PIPE, check=True)
    told = json.loads(done.stdout)
    return told["bytes_up"] + told["bytes_down"]


# ---- off-loading


@dataclasses.dataclass
class Run:
    """One run of a program: its output, its blocks as --stats tells them, and what the link carried."""
    out: str
    blocks: list
    seconds: float
    link: int

    def bytes(self, which):
        """The bytes on the wire, both ways, of each of these blocks."""
        return [block["out"] + block["in"] for block in self.blocks[which]]

    def column(self, name, which):
        """A figure of each of these blocks."""
        return [block[name] for block in self.blocks[which]]


class Pair:
    """A device and a clone host that have seen nothing yet: keys, pairing and caches of their own. On the device's side of a
    rig, in a folder of its own that goes with it."""

    def __init__(self, options):
        self.options, self.base = options, tempfile.TemporaryDirectory(prefix="pair.", dir=options.on_device)
        folder = pathlib.Path(self.base.name)
        self.stats, self.cache = folder / "stats.json", folder / "cache"
        self.empty = folder / "empty"  # programs run where nothing changes but by them
        self.empty.mkdir()
        self.device = clone_host.Device(f"{options.build}/src/cmd/doppel", folder / "device")
        self.host = clone_host.CloneHost(f"{options.build}/src/daemon/doppeld", folder / "host", f"{HOST}:{PORT}",
                                         words=on_host())

    def __enter__(self):
        self.host.start()
        paired = self.device.pair(self.host.invite(), "far")
        if paired.returncode:
            raise RuntimeError(f"doppel pair: {paired.stderr.strip()}")
        return self

    def __exit__(self, *_):
        self.host.stop()
        with contextlib.suppress(OSError):  # what a session still unmounts
            self.base.cleanup()

    def environment(self):
        """Where the device keeps what it knows."""
        return {**self.device.environment(), "XDG_CACHE_HOME": str(self.cache)}

    def program(self, words):
        """Runs it on the device, without doppel or with, for as long as the limit allows; its output."""
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              cwd=self.empty, env=self.environment(), start_new_session=True) as process:
            try:
                out, errors = process.communicate(timeout=self.options.limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                raise Overrun(f"more than {self.options.limit:.0f} s") from None
        if process.returncode:
            raise RuntimeError(f"{shlex.join(map(str, words))}: status {process.returncode}: {errors.strip()}")
        return out

    def run(self, function, words, without="", more=()):
        """One off-loaded run. A call that did not run in the clone is an error: it would be no measurement."""
        switches = [*([f"--without={without}"] if without else []), *more]
        carried, begun = link_bytes(self.options.build), time.monotonic()
        out = self.program([self.device.doppel, "run", *RUN_OPTIONS, *switches, f"--stats={self.stats}", "-f", function, "--",
                            *words])
        seconds = time.monotonic() - begun
        told = json.loads(self.stats.read_text(encoding="utf-8"))["functions"][0]
        if told["remote"] != told["calls"] or not told["calls"] or told["cut"]:
            raise RuntimeError(f"{function} did not run in the clone: {told}")
        if "blocks" not in told:
            raise RuntimeError("this doppel's --stats tells nothing of single blocks")
        return Run(out, told["blocks"], seconds, link_bytes(self.options.build) - carried)


def congestion_control():
    """TCP's, as this machine has set it: one that spreads a message's packets over time costs small blocks much."""
    return pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text(encoding="ascii").strip()


def can_switch(build):
    """Whether `doppel run` has switches for its mechanisms."""
    done = subprocess.run([f"{build}/src/cmd/doppel", "run", "--help"], stdout=subprocess.PIPE, text=True, check=False)
    return "--without" in done.stdout


# ---- figures


def middle(values):
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def size(count):
    """Bytes for people."""
    if count is None:
        return "-"
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} B"


def span(us):
    """Microseconds for people."""
    if us is None:
        return "-"
    return f"{us / 1e6:.2f} s" if us >= 1e6 else f"{us / 1e3:.1f} ms" if us >= 1000 else f"{us:.0f} us"


def held(value, limit):
    """What a limit says of a value: a word for the table. No limit: nothing."""
    if limit is None or value is None:
        return ""
    return "held" if value <= limit else "MISSED"
