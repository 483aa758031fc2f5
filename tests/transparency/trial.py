"""One run of a row in a fresh directory, and the comparison of two such runs."""

import dataclasses
import errno
import fcntl
import hashlib
import os
import pathlib
import selectors
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import termios
import time

CHUNK = 65536
AGAIN = 5  # seconds after which a signal is sent again: it may have come before the program waited for it
# What of the caller's environment reaches a run: where doppel keeps its keys, and how its sanitizers report.
PASSED = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS")


@dataclasses.dataclass
class Outcome:
    """What can be seen of a run: bytes, status ("exit 0", "signal 11", "timeout"), the files it left."""

    stdout: bytes = b""
    stderr: bytes = b""
    status: str = ""
    tree: dict = dataclasses.field(default_factory=dict)
    left: list = dataclasses.field(default_factory=list)
    script: str = ""
    seconds: float = 0.0


def tree(directory, ignore=()):
    """{relative path: what it is} of everything below `directory`: type, mode, owner, links, size, hash or target."""
    found = {}
    base = os.fspath(directory)
    for folder, names, files in os.walk(base):
        for name in names + files:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, base)
            if relative in ignore:
                continue
            info = os.lstat(path)
            kind = stat.S_IFMT(info.st_mode)
            said = f"{stat.filemode(info.st_mode)} {info.st_uid}:{info.st_gid}"
            if kind == stat.S_IFREG:
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                said += f" links={info.st_nlink} size={info.st_size} {digest[:16]}"
            elif kind == stat.S_IFLNK:
                said += f" -> {os.readlink(path)}"
            found[relative] = said
    return found


class Stage:
    """The place where a row is performed again and again: one path, so that nothing can depend on it."""

    def __init__(self, row, programs, base):
        self.row, self.programs = row, os.path.abspath(programs)
        self.base = pathlib.Path(tempfile.mkdtemp(prefix=f"{row.name}.", dir=base))
        self.prepared, self.work = self.base / "prepared", self.base / "work"
        self.mark = f"{os.getpid()}.{self.base.name}"
        self.prepared.mkdir()
        if row.setup:
            made = subprocess.run(["/bin/sh", "-euc", self._fill(row.setup)], cwd=self.prepared, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment(), check=False)
            if made.returncode:
                raise RuntimeError(f"the set-up of {row.name} failed: {made.stdout.decode(errors='replace')[-800:]}")

    def _fill(self, text):
        return text.replace("{programs}", self.programs)

    def environment(self):
        """The same few variables for every run: nothing of the caller's leaks into an output."""
        clean = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(self.work),
                 "TERM": "dumb", "TRIAL": self.mark, "XDG_STATE_HOME": str(self.base / "state")}
        clean |= {name: os.environ[name] for name in PASSED if name in os.environ}
        return clean | self.row.environment

    def command(self):
        """The row's own argument vector."""
        return [self._fill(word) for word in self.row.program]

    def perform(self, prefix=(), timeout=None, started=None, patience=30.0):
        """Runs prefix + command in a fresh copy of the prepared directory. `started(process)` is called once it runs;
        processes of the run that are still there `patience` seconds after its end are told in the outcome, and killed.

        The directory is left in place until the next perform() or close()."""
        shutil.rmtree(self.work, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.prepared), str(self.work)], check=True)
        run = _Run(self, list(prefix), started)
        outcome = run.drive(time.monotonic() + (timeout or self.row.timeout))
        outcome.left = self._left_behind(patience)
        outcome.tree = tree(self.work, self.row.ignore_files)
        return outcome

    def _left_behind(self, patience):
        """Processes of this stage that outlived the run: found by a variable in their environment, then killed."""
        limit = time.monotonic() + patience
        while True:
            # A keeper is there for the next run.
            found = [(pid, name) for pid, name in processes_with(f"TRIAL={self.mark}") if name != "doppel-keeper"]
            if not found or time.monotonic() > limit:
                break
            time.sleep(0.02)
        for pid, _ in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return [f"{pid} {name}" for pid, name in found]

    def close(self, keep=False):
        """Removes the directory."""
        if not keep:
            shutil.rmtree(self.base, ignore_errors=True)


def processes_with(setting):
    """[(pid, name)] of the live processes (no zombies) with NAME=VALUE in the environment they were started with."""
    wanted, found = setting.encode(), []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if wanted not in file.read().split(b"\0"):
                    continue
            with open(f"/proc/{entry}/stat", "rb") as file:
                fields = file.read()
        except OSError:
            continue
        name, state = fields[fields.index(b"(") + 1:fields.rindex(b")")], fields[fields.rindex(b")") + 2:][:1]
        if state not in (b"Z", b"X"):
            found.append((int(entry), name.decode(errors="replace")))
    return found


def program_of(pid, executable):
    """The process that is the program itself: `pid`, or its child that runs `executable` (under `doppel run`)."""
    wanted = os.path.realpath(executable)
    try:
        if os.readlink(f"/proc/{pid}/exe") == wanted:
            return pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = [int(word) for word in file.read().split()]
        for child in children:
            if os.readlink(f"/proc/{child}/exe") == wanted:
                return child
    except OSError:
        pass
    return pid


class _Run:
    """A started command with its pipes or terminal, until it ends."""

    def __init__(self, stage, prefix, started):
        self.stage, self.row = stage, stage.row
        self.outcome, self.streams = Outcome(), selectors.DefaultSelector()
        self.feed, self.steps, self.seen = b"", list(self.row.script), 0
        self.due = self.unheard = None
        self.input_fd = self.terminal = -1
        self.limit = int(self.row.stdout.split(":")[1]) if self.row.stdout.startswith("close-after:") else None
        self.begun = time.monotonic()
        self.process = self._start(prefix)
        if started:
            started(self.process)

    def _start(self, prefix):
        kind, _, name = self.row.stdin.partition(":")
        options = {"cwd": self.stage.work, "env": self.stage.environment(), "start_new_session": True}
        command = prefix + self.stage.command()
        if kind == "terminal":
            return self._start_on_terminal(command, options)
        give = subprocess.DEVNULL
        if kind == "file":
            give = os.open(self.stage.work / name, os.O_RDONLY)
        elif kind in ("pipe", "script"):
            give = subprocess.PIPE
        process = subprocess.Popen(command, stdin=give, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   restore_signals=True, **options)
        if kind == "file":
            os.close(give)
        if kind in ("pipe", "script"):
            self.input_fd = os.dup(process.stdin.fileno())
            process.stdin.close()
            os.set_blocking(self.input_fd, False)
        if kind == "pipe":
            self.feed = (self.stage.prepared / name).read_bytes()
            self.streams.register(self.input_fd, selectors.EVENT_WRITE, "feed")
        for stream, label in ((process.stdout, "stdout"), (process.stderr, "stderr")):
            os.set_blocking(stream.fileno(), False)
            self.streams.register(stream.fileno(), selectors.EVENT_READ, label)
        return process

    def _start_on_terminal(self, command, options):
        self.terminal, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

        def adopt():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=adopt, **options)
        os.close(theirs)
        self.input_fd = self.terminal
        self.streams.register(self.terminal, selectors.EVENT_READ, "stdout")
        return process

    def drive(self, deadline):
        """Reads, feeds and plays the script until the command has ended and its output is at its end."""
        ended, quiet = None, 0.3 if self.terminal >= 0 else 5
        while True:
            self._play()
            now = time.monotonic()
            if ended is None and self.process.poll() is not None:
                ended = now
            outputs = [key for key in self.streams.get_map().values() if key.data != "feed"]
            if ended is not None and (not outputs or now > ended + quiet):
                break
            if now > deadline:
                self.outcome.status = "timeout"
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                break
            for key, _ in self.streams.select(0.02):
                self._serve(key)
                ended = ended and time.monotonic()  # what there is to read is read, however long that takes
        self._finish()
        return self.outcome

    def _serve(self, key):
        if key.data == "feed":
            try:
                self.feed = self.feed[os.write(key.fd, self.feed[:CHUNK]):]
            except BlockingIOError:
                return
            except BrokenPipeError:
                self.feed = b""
            if not self.feed:
                self._close_input()
            return
        try:
            data = os.read(key.fd, CHUNK)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return
            data = b""  # a terminal whose last user has gone says EIO
        if data:
            setattr(self.outcome, key.data, getattr(self.outcome, key.data) + data)
        if not data or (key.data == "stdout" and self.limit is not None and len(self.outcome.stdout) >= self.limit):
            self.streams.unregister(key.fd)
            if self.limit is not None and key.data == "stdout":
                self.outcome.stdout = self.outcome.stdout[:self.limit]
                self.process.stdout.close()

    def _close_input(self):
        if self.input_fd >= 0 and self.input_fd != self.terminal:
            if self.input_fd in self.streams.get_map():
                self.streams.unregister(self.input_fd)
            os.close(self.input_fd)
        self.input_fd = -1

    def _play(self):
        """Performs the script's steps that are due: each waits for its text in the output, then for its delay."""
        if self.unheard and len(self.outcome.stdout) > self.unheard[1]:
            self.unheard = None
        if self.unheard and time.monotonic() > self.unheard[2] and self.process.poll() is None:
            self._act(self.unheard[0])
        while self.steps:
            step = self.steps[0]
            if self.due is None:
                if "expect" in step:
                    at = self.outcome.stdout.find(step["expect"].encode(), self.seen)
                    if at < 0:
                        return
                    self.seen = at + len(step["expect"].encode())
                self.due = time.monotonic() + step.get("after_ms", 0) / 1000
            if time.monotonic() < self.due:
                return
            self._act(step)
            self.steps.pop(0)
            self.due = None

    def _act(self, step):
        if "type" in step and self.input_fd >= 0:
            try:
                os.write(self.input_fd, step["type"].encode())
            except BrokenPipeError:
                pass
        if "signal" in step:
            number = getattr(signal, "SIG" + step["signal"])
            try:
                os.kill(program_of(self.process.pid, self.stage.command()[0]), number)
            except ProcessLookupError:
                pass
            self.unheard = step, len(self.outcome.stdout), time.monotonic() + AGAIN
        if step.get("close"):
            self._close_input()

    def _finish(self):
        outcome, code = self.outcome, self.process.returncode
        if not outcome.status:
            outcome.status = f"exit {code}" if code >= 0 else f"signal {-code}"
        if self.steps:
            outcome.script = f"{len(self.steps)} steps of the script were not reached: {self.steps[0]}"
        self._close_input()
        if self.terminal >= 0:
            os.close(self.terminal)
        for stream in (self.process.stdout, self.process.stderr):
            if stream and not stream.closed:
                stream.close()
        self.streams.close()
        outcome.seconds = time.monotonic() - self.begun


def _bytes_difference(what, native, other):
    at = next((i for i, (a, b) in enumerate(zip(native, other)) if a != b), min(len(native), len(other)))
    start = max(0, at - 20)
    return (f"{what} differs at byte {at} (native {len(native)} bytes, here {len(other)}): "
            f"native {native[start:at + 60]!r}, here {other[start:at + 60]!r}")


def compare(row, native, other):
    """What differs between two outcomes of a row, one line each; empty when they are equal."""
    found = []
    if native.status != other.status:
        found.append(f"status: native {native.status}, here {other.status}; stderr ends {other.stderr[-300:]!r}")
    if native.stdout != other.stdout:
        found.append(_bytes_difference("stdout", native.stdout, other.stdout))
    if row.stderr == "same" and native.stderr != other.stderr:
        found.append(_bytes_difference("stderr", native.stderr, other.stderr))
    for path in sorted(set(native.tree) | set(other.tree)):
        if native.tree.get(path) != other.tree.get(path):
            found.append(f"file {path}: native {native.tree.get(path)}, here {other.tree.get(path)}")
    if other.script and not native.script:
        found.append(other.script)
    if other.left and not native.left:
        found.append(f"processes left behind: {', '.join(other.left)}")
    return found

