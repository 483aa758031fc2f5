"""A tree with every kind of entry that a Linux file system can have, from a seed. Needs root."""

import errno
import os
import socket
import struct

DEEP = b"deep"  # its paths are shorter than PATH_MAX with any prefix that is reasonable
DEEPER = b"deeper"  # its path is longer than PATH_MAX: only a walk by descriptors gets there
CHAIN = 200  # bytes of a name on the way down


def put(path, content, mode=0o644):
    """A file."""
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def text(rand, size):
    """Words."""
    words = [b"of", b"the", b"clone", b"device", b"layer", b"step", b"kept", b"told", b"whole", b"\n"]
    return b" ".join(rand.choices(words, k=size // 4 + 1))[:size]


def acl(*entries):
    """The value of system.posix_acl_*: (tag, permissions, id) each (linux/posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def some_acl(rand):
    """A user and a group more than the mode says."""
    none = 0xFFFFFFFF
    return acl((1, 6, none), (2, rand.choice((0, 4, 5, 7)), rand.choice((1, 1234, 70000))), (4, 4, none),
               (8, 6, rand.choice((5, 4321))), (16, 7, none), (32, rand.choice((0, 4)), none))


def capability(rand, rooted=False):
    """security.capability, version 2 or 3 (linux/capability.h): the latter is that of a user namespace."""
    permitted = rand.getrandbits(30)
    words = struct.pack("<IIIII", (0x03000000 if rooted else 0x02000000) | rand.getrandbits(1), permitted, 0, rand.getrandbits(8), 0)
    return words + struct.pack("<I", 100000) if rooted else words


def set_acl(path, name, value):
    """FALSE where the file system has none."""
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return False
        raise
    return True


def files(tree, rand, count):
    """Regular files of all sizes, in some directories."""
    sizes = [0, 1, 100, 255, 256, 1023, 1024, 1025, 4096, 40000, 65536, 262144, 262145, 1 << 20, 3000001]
    for number in range(count):
        folder = tree + b"/d%d/e%d" % (rand.randrange(6), rand.randrange(4))
        os.makedirs(folder, exist_ok=True)
        size = sizes[number] if number < len(sizes) else rand.choice(sizes[:11])
        put(folder + b"/f%d" % number, rand.randbytes(size) if number % 2 else text(rand, size))


def hard_links(tree, rand):
    """Several names of files, links, FIFOs and nodes, in several directories."""
    os.makedirs(tree + b"/l1/l2")
    put(tree + b"/l1/one", rand.randbytes(5000))
    os.symlink(b"one", tree + b"/l1/soft")
    os.mkfifo(tree + b"/l1/fifo")
    os.mknod(tree + b"/l1/node", 0o644 | 0o020000, os.makedev(1, 5))
    for name in (b"one", b"soft", b"fifo", b"node"):
        os.link(tree + b"/l1/" + name, tree + b"/l1/l2/" + name, follow_symlinks=False)
        os.link(tree + b"/l1/" + name, tree + b"/another " + name, follow_symlinks=False)
    for number in range(50):
        os.link(tree + b"/l1/one", tree + b"/l1/l2/many%d" % number)


def sparse(tree, rand):
    """Holes at the beginning, between, at the end, and nothing else."""
    for name, size, pieces in ((b"head", 9_000_000, [8_900_000]), (b"tail", 9_000_000, [0]), (b"hole", 50_000_000, []),
                               (b"both", 9_000_001, [3_000_000, 3_100_000, 6_000_123])):
        with open(tree + b"/sparse " + name, "wb") as file:
            file.truncate(size)
            for at in pieces:
                file.seek(at)
                file.write(rand.randbytes(1000))


def attributes(tree, rand):
    """Extended attributes of files, directories and links; ACLs; capabilities."""
    for number in range(8):
        put(tree + b"/x%d" % number, text(rand, 100 * number))
    os.setxattr(tree + b"/x0", "user.colour", b"green")
    os.setxattr(tree + b"/x0", b"user.\xc3\xa9 \xff", b"\0\xff binary")
    os.setxattr(tree + b"/x1", "user.empty", b"")
    os.setxattr(tree + b"/x1", "user.large", rand.randbytes(2500))
    os.setxattr(tree + b"/x2", "user.small", b"1")
    os.setxattr(tree + b"/x2", "trusted.mine", b"root's")
    os.setxattr(tree + b"/x2", "security.label", b"some")
    os.setxattr(tree + b"/x3", "security.capability", capability(rand))
    os.setxattr(tree + b"/x4", "security.capability", capability(rand, True))
    os.mkdir(tree + b"/xd")
    os.setxattr(tree + b"/xd", "user.of", b"a directory")
    os.symlink(b"x0", tree + b"/xl")
    os.setxattr(tree + b"/xl", "trusted.of", b"a link", follow_symlinks=False)
    if set_acl(tree + b"/x5", "system.posix_acl_access", some_acl(rand)):
        set_acl(tree + b"/xd", "system.posix_acl_default", some_acl(rand))
        set_acl(tree + b"/xd", "system.posix_acl_access", some_acl(rand))
        put(tree + b"/xd/inherits", b"")


def nodes(tree):
    """FIFOs, device nodes, sockets."""
    os.mkfifo(tree + b"/fifo", 0o640)
    for name, kind, number in ((b"null", 0o020000, (1, 3)), (b"high", 0o020000, (510, 70000)), (b"disk", 0o060000, (8, 1))):
        os.mknod(tree + b"/" + name, 0o660 | kind, os.makedev(*number))
    here = os.getcwd()
    os.chdir(tree)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(b"socket")
    os.chdir(here)


def names(tree, rand):
    """Names of all bytes, of 255, and those that a shell or a list would break."""
    odd = bytes(byte for byte in range(1, 256) if byte != ord("/"))
    for name in (odd[:127], odd[127:], b"not \xff utf-8 \xc3\x28", b"new\nline", b"tab\there", b"back\\slash\\n", b"-rf", b"...", b" ", b"*",
                 b"#octal\\012", b"n" * 255, b"\xf0" * 255):
        put(tree + b"/" + name, text(rand, 30))
    os.mkdir(tree + b"/" + b"d" * 255)
    put(tree + b"/" + b"d" * 255 + b"/" + b"f" * 255, b"far")
    os.symlink(b"l" * 255, tree + b"/" + b"s" * 255)


def links(tree):
    """Symbolic links that lead somewhere, nowhere, out, and to long and odd paths."""
    for number, target in enumerate((b"d0", b"nowhere/at all", b"/etc/hostname", b"../../..", b"not \xff utf-8", b"t" * 4095, b".", b"loop")):
        os.symlink(target, tree + b"/link%d" % number)
    os.symlink(b"loop", tree + b"/loop")


def descend(tree, name, levels):
    """A chain of directories, walked by descriptors, with a file at its end."""
    os.mkdir(tree + b"/" + name)
    at = os.open(tree + b"/" + name, os.O_RDONLY | os.O_DIRECTORY)
    for level in range(levels):
        part = (b"%03d" % level).ljust(CHAIN, b"-")
        os.mkdir(part, dir_fd=at)
        below = os.open(part, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    with open(os.open(b"end", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=at), "wb") as file:
        file.write(b"at the end of " + name)
    os.close(at)


def modes(tree):
    """Set-id bits, sticky, nothing at all; owners; times of all kinds."""
    for number, mode in enumerate((0o4755, 0o2755, 0o6711, 0o1644, 0o0000, 0o7777, 0o0200)):
        put(tree + b"/m%d" % number, b"x", mode)
    for number, mode in enumerate((0o1777, 0o2775, 0o0000, 0o0111, 0o4755)):
        os.mkdir(tree + b"/md%d" % number)
        put(tree + b"/md%d/in" % number, b"in")
        os.chmod(tree + b"/md%d" % number, mode)
    for number, (uid, gid) in enumerate(((1, 2), (65534, 65534), (4294967294, 4294967294), (100000, 0))):
        put(tree + b"/o%d" % number, b"")
        os.chown(tree + b"/o%d" % number, uid, gid)
    os.symlink(b"m0", tree + b"/ol")
    os.chown(tree + b"/ol", 1234, 4321, follow_symlinks=False)
    for number, ns in enumerate((1, 999_999_999, 1_234_567_890_123_456_789, -1_500_000_001, 4_000_000_000_000_000_007)):
        put(tree + b"/t%d" % number, b"")
        os.utime(tree + b"/t%d" % number, ns=(ns, ns))
    os.utime(tree + b"/link0", ns=(5, 1_111_111_111_000_000_001), follow_symlinks=False)
    os.utime(tree + b"/d0", ns=(5, 222_222_222_222_222_222))


def crowd(tree, rand):
    """A directory with many entries, and an empty one."""
    os.mkdir(tree + b"/crowd")
    os.mkdir(tree + b"/empty")
    for number in range(1500):
        put(tree + b"/crowd/%d" % number, text(rand, rand.randrange(40)))


def make(tree, rand, count=150):
    """All of it in the new directory `tree` (bytes)."""
    os.makedirs(tree)
    files(tree, rand, count)
    hard_links(tree, rand)
    sparse(tree, rand)
    attributes(tree, rand)
    nodes(tree)
    names(tree, rand)
    links(tree)
    descend(tree, DEEP, max(1, (3900 - len(tree)) // (CHAIN + 1) - 2))
    descend(tree, DEEPER, 40)
    modes(tree)
    crowd(tree, rand)
