"""The main job on a real program: Debian's own tesseract reads a page, on a weak device alone and with its clone.

The "device" has a fifth of a processor and reaches the "host" over a link like a wireless network's; both are network
namespaces of this machine that doppel-rig makes. The device is paired with the host by an invitation, as people do it.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time

FUNCTION = "tesseract::TessBaseAPI::Recognize"
PORT = 7433
DEVICE_CPU = "20%"
LINK = "wifi"
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
PROGRAM = ["tesseract", "page.png", "-", "--dpi", "150"]

TEXT = " ".join(["A weak device keeps the truth and a clone of itself does the work.",
                 "What the two differ in travels, the block runs, and what it changed comes home.",
                 "Where the network goes away the device does the work alone, and nobody can tell from the output."])


class Demo:
    def __init__(self, build, work):
        self.doppel = str(build / "src/cmd/doppel")
        self.doppeld = str(build / "src/daemon/doppeld")
        self.rig = str(build / "tests/rig/doppel-rig")
        self.work = work

    def environment(self, **more):
        """One thread: the device's processor is what is scarce, and a pool of threads would only wait for it."""
        return {**os.environ, "LC_ALL": "C.UTF-8", "OMP_THREAD_LIMIT": "1", "XDG_STATE_HOME": str(self.work / "device"), **more}

    def make_page(self):
        """A page of printed text, wrapped here: what it looks like must not depend on the image program's version."""
        lines = "\n".join(textwrap.wrap(" ".join([TEXT] * 24), 90))
        subprocess.run(["convert-im6.q16", "-size", "1240x2200", "xc:white", "-fill", "black", "-font", FONT, "-pointsize", "22",
                        "-annotate", "+60+80", lines, "page.png"], cwd=self.work, check=True)

    def run_rig(self):
        """This file again as the device's command, under the rig; its measurements."""
        host = [self.doppeld, "serve", "--root", "/", "--state", str(self.work / "host"), "--listen", f"10.77.0.2:{PORT}"]
        command = [self.rig, "exec", "--profile", LINK, "--device-cpu", DEVICE_CPU, "--host-command", "exec " + shlex.join(host) + " >host.log 2>&1",
                   "--host-port", str(PORT), "--", sys.executable, os.path.abspath(__file__), "--build", str(pathlib.Path(self.doppel).parents[2]),
                   "--on-device", str(self.work)]
        done = subprocess.run(command, cwd=self.work, env=self.environment(), check=False)
        if done.returncode != 0:
            sys.exit(f"the demo did not get to its end; the host said:\n{(self.work / 'host.log').read_text()}")
        return json.loads((self.work / "results.json").read_text())

    def measure(self, title, prefix, stats=None):
        """Runs the program once; time, processor seconds of the device, digest of the output, bytes each way."""
        print(f"  {title} ...", file=sys.stderr, flush=True)
        before, start = os.times(), time.monotonic()
        done = subprocess.run([*prefix, *PROGRAM], cwd=self.work, env=self.environment(), stdout=subprocess.PIPE, check=True)
        after = os.times()
        told = json.loads(stats.read_text())["functions"] if stats else []
        return {"title": title, "seconds": time.monotonic() - start,
                "cpu": after.children_user + after.children_system - before.children_user - before.children_system,
                "out": sum(entry["bytes_out"] for entry in told), "in": sum(entry["bytes_in"] for entry in told),
                "remote": sum(entry["remote"] for entry in told), "digest": hashlib.sha256(done.stdout).hexdigest()}

    def pair(self):
        invitation = subprocess.run([self.doppeld, "invite", "--state", str(self.work / "host"), "--address", f"10.77.0.2:{PORT}"],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout.split()[-1]
        subprocess.run([self.doppel, "pair", "--name", "host", invitation], env=self.environment(), stdout=subprocess.DEVNULL, check=True)

    def on_device(self):
        self.pair()
        stats = self.work / "stats.json"
        run = [self.doppel, "run", "--clone", "host", f"--stats={stats}"]
        block, whole = [*run, "--place", "clone", "-f", FUNCTION, "--"], [*run, "--whole", "--"]
        rows = [self.measure("on the device alone", []), self.measure("the function in the clone", block, stats),
                self.measure("the same again", block, stats), self.measure("all of it in the clone", whole, stats)]
        (self.work / "results.json").write_text(json.dumps(rows))


INTRODUCTION = f"""
Debian's own {PROGRAM[0]}, unmodified, reads a page of text: on a weak device alone, then with the device's clone.
The device is a network namespace with {DEVICE_CPU} of one processor; the clone's host is another, behind a link
like a wireless network's (40 Mbit/s, 5 ms). They have been paired by an invitation.

  device$ {shlex.join(PROGRAM)}
  device$ doppel run --clone host --place clone -f {FUNCTION} -- {shlex.join(PROGRAM)}
  device$ doppel run --clone host --whole -- {shlex.join(PROGRAM)}"""


def show(rows):
    """The table, and what to see in it."""
    alone = rows[0]
    print(f"\n{'':28}{'time':>9}{'':>8}{'device CPU':>13}{'sent':>12}{'received':>12}  SHA-256 of the output")
    for row in rows:
        sent = f"{row['out'] / 1e6:.2f} MB" if row["remote"] else "-"
        received = f"{row['in'] / 1e6:.2f} MB" if row["remote"] else "-"
        faster = f"({alone['seconds'] / row['seconds']:.1f}x)" if row is not alone else ""
        print(f"{row['title']:28}{row['seconds']:7.2f} s{faster:>8}{row['cpu']:11.2f} s{sent:>12}{received:>12}  {row['digest'][:16]}")
    equal = len({row["digest"] for row in rows}) == 1
    remote = all(row["remote"] for row in rows[1:])
    print(f"\nThe outputs are {'equal' if equal else 'NOT EQUAL'}; "
          f"the work was done {'by the clone' if remote else 'NOT ALWAYS by the clone'}. "
          "Device CPU is processor time that the device itself\nspent; sent and received are what passed over its link.")
    if equal and remote:
        print("\nNext: build/src/cmd/doppel --help, and the tour in README.md.")
    if not remote:
        print("\nWhat this machine lacks for a clone is in the table of build/src/cmd/doppel doctor.")
    return 0 if equal and remote else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="build directory")
    parser.add_argument("--on-device", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.on_device:
        Demo(options.build, options.on_device).on_device()
        return 0
    with tempfile.TemporaryDirectory(prefix="doppel-demo-") as folder:
        demo = Demo(options.build.resolve(), pathlib.Path(folder))
        demo.make_page()
        print(INTRODUCTION + "\n", flush=True)
        return show(demo.run_rig())


sys.exit(main())
