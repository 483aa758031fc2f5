"""What a clone has, seen through the kernel's overlayfs, and compared with what a device has by tools that know nothing of doppel."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import stat
import subprocess

import kinds

# Of directories sizes and numbers of names are the file system's own business; rsync -H compares which names are one inode.
KEYS = "!all,type,mode,uid,gid,size,time,link,device,sha256"
NETBSD_KEYS = "type,mode,uid,gid,size,time,link,device,sha256"
ENOUGH = 20  # differences are shown at most


def bare():
    """An environment in which bytes are bytes."""
    return {**os.environ, "LC_ALL": "C"}


def output(words, status=(0,), **more):
    """Standard output of a command, as bytes."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=bare(), check=False, **more)
    if done.returncode not in status:
        raise RuntimeError(f"{words[0]}: status {done.returncode}: {done.stderr.decode(errors='replace')[-1000:]}")
    return done.stdout


def generations(store):
    """{number: layers, top first} of a store, from its HEAD."""
    found = {}
    for line in (pathlib.Path(store) / "HEAD").read_text().splitlines():
        words = line.split()
        if words[0] == "generation":
            found[int(words[1])] = [int(layer) for layer in words[6].split(",")]
    return found


@contextlib.contextmanager
def mounted(store, number, place):
    """Generation `number`, mounted read-only at `place`."""
    layers = [f"{layer:08}/tree" for layer in generations(store)[number]] + ["../empty"]
    options = "ro,userxattr,lowerdir=" + ":".join(layers)
    pathlib.Path(place).mkdir(exist_ok=True)
    output(["mount", "-t", "overlay", "clone", "-o", options, str(place)], cwd=pathlib.Path(store) / "layers")
    try:
        yield pathlib.Path(place)
    finally:
        output(["umount", str(place)])


def lines_of(text):
    """Without sockets, which do not travel, and what no tool can reach by its path."""
    lines = [line for line in text.split(b"\n") if line and not line.startswith(b"#")]
    return [line for line in lines if b"type=socket" not in line and b"/" + kinds.DEEPER + b"/" not in line]


def manifest(tree):
    """bsdtar's mtree of it: one line for each path, sorted."""
    words = ["bsdtar", "-cf", "-", "--format=mtree", f"--options=mtree:{KEYS}", "--exclude", f"*/{kinds.DEEPER.decode()}/*", "-C", str(tree), "."]
    found = []
    for line in lines_of(output(words)):
        if line.startswith((b"./", b". ")):
            # What bsdtar says of a further name of an inode depends on which one it met first.
            found.append(b" ".join(part for part in line.split(b" ") if not part.startswith(b"nlink=")))
    return sorted(found)


def netbsd(tree, exclude):
    """NetBSD's mtree of it: one line for each path, sorted. (What mtree compares itself takes a name like "*" for a pattern.)"""
    exclude.write_text(f"./*/{kinds.DEEPER.decode()}/*\n./*/*/{kinds.DEEPER.decode()}/*\n")
    words = ["mtree", "-c", "-X", str(exclude), "-k", NETBSD_KEYS, "-p", str(tree)]
    found, folder, usual = [], [], {}
    for line in output(words).replace(b"\\\n", b"").split(b"\n"):
        name, _, rest = line.strip().partition(b" ")
        given = dict(part.split(b"=", 1) for part in rest.split() if b"=" in part)
        if name == b"/set":
            usual |= given
        elif name == b"..":
            folder.pop()
        elif name and not line.startswith(b"#"):
            facts = usual | given
            if facts[b"type"] != b"socket":
                found.append(b"/".join([*folder, name]) + b" " + b" ".join(key + b"=" + facts[key] for key in sorted(facts)))
            if facts[b"type"] == b"dir":
                folder.append(name)
    return sorted(found)


def rsync(tree, other):
    """What rsync would do to make `other` like `tree`; contents are compared as well."""
    words = ["rsync", "-n", "-aHAX", "--delete", "-i", "--checksum", "--numeric-ids", "--modify-window=-1", "--exclude",
             f"/**/{kinds.DEEPER.decode()}/*", f"{tree}/", f"{other}/"]
    lines = [line for line in output(words).split(b"\n") if line]
    return [line for line in lines if not is_socket(line, tree)]


def is_socket(line, tree):
    """rsync wants to make it."""
    if line[1:2] != b"S":
        return False
    path = os.fsencode(tree) + b"/" + line.split(b" ", 1)[1]
    return stat.S_ISSOCK(os.lstat(path).st_mode)


def down(tree):
    """What is on the way down a chain that is too long for a path: facts of each entry, and the hash of the file at its end."""
    found, at = [], os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            name = os.listdir(at)[0]
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
            found.append((name, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns))
            below = os.open(name, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
            if not stat.S_ISDIR(status.st_mode):
                with open(os.dup(at), "rb") as file:
                    return found + [hashlib.sha256(file.read()).hexdigest()]
    finally:
        os.close(at)


def too_deep(tree, other, below):
    """The same for the chain in the directory `below`."""
    chains = [os.path.join(os.fsencode(str(each)), below, kinds.DEEPER) for each in (tree, other)]
    if not os.path.isdir(chains[0]):
        return []
    return [] if down(chains[0]) == down(chains[1]) else [b"deeper than a path is long"]


def holes(tree, other, below):
    """Files with holes must have them there, too."""
    found, folder = [], os.path.join(os.fsencode(str(tree)), below)
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if not name.startswith(b"sparse ") or not stat.S_ISREG(os.lstat(path).st_mode):
            continue
        here, there = (os.lstat(os.path.join(os.fsencode(str(each)), below, name)).st_blocks for each in (tree, other))
        if there > here + 64:
            found.append(b"no holes: %s (%d blocks, here %d)" % (name, there, here))
    return found


def differences(tree, other, below, scratch):
    """Everything that any of the tools finds, as text; [] for nothing. `below`: where there are chains and files with holes."""
    found = [("rsync", line) for line in rsync(tree, other)]
    here, there = manifest(tree), manifest(other)
    found += [("bsdtar", line) for line in sorted(set(here) ^ set(there))]
    if shutil.which("mtree"):
        ours, theirs = (netbsd(each, pathlib.Path(scratch) / "exclude") for each in (tree, other))
        found += [("mtree", line) for line in sorted(set(ours) ^ set(theirs))]
    found += [("walk", line) for line in too_deep(tree, other, below) + holes(tree, other, below)]
    shown = [f"{tool}: {line.decode(errors='backslashreplace')}" for tool, line in found[:ENOUGH]]
    return shown + ([f"... and {len(found) - ENOUGH} more"] if len(found) > ENOUGH else []), len(here)


def fingerprint(tree):
    """A hash of all that bsdtar says."""
    return hashlib.sha256(b"\n".join(manifest(tree))).hexdigest()
