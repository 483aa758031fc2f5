"""Random changes of a tree, from a seed: every call that changes a file system, on every kind of entry."""

import contextlib
import os
import shutil
import stat

import kinds

SMALL = 60  # entries of what is removed, moved or replaced as a whole


class Changes:
    """Changes below `tree` (bytes). What `keeps` names (paths from the tree's root) is only changed in ways that leave it working."""

    def __init__(self, tree, rand, keeps=()):
        self.tree, self.rand, self.keeps = tree, rand, keeps
        self.made = 0
        self.counts = {}
        self.kinds = [getattr(self, name) for name in sorted(dir(type(self))) if name.startswith("do_")]

    # ---- what there is

    def free(self, path):
        """Whether anything may happen to it."""
        below = path[len(self.tree):]
        return below and not any(below == keep or below.startswith(keep + b"/") or keep.startswith(below + b"/") for keep in self.keeps)

    def look(self):
        """Everything below, by kind."""
        self.directories, self.files, self.others = [], [], []
        for folder, directories, files in os.walk(self.tree):
            directories.sort()
            if len(folder) > 3000 or b"/" + kinds.DEEPER in folder:
                directories.clear()
                continue
            self.directories.append(folder)
            for name in files + [name for name in directories if os.path.islink(folder + b"/" + name)]:
                path = folder + b"/" + name
                (self.files if os.path.isfile(path) and not os.path.islink(path) else self.others).append(path)
        for found in (self.directories, self.files, self.others):
            found.sort()

    def one(self, *lists, free=True):
        """Some path that is still there; LookupError where none is found."""
        for _ in range(60):
            path = self.rand.choice(self.rand.choice([each for each in lists if each]))
            if os.path.lexists(path) and (not free or self.free(path)):
                return path
        raise LookupError

    def folder(self):
        """A directory in which something new may come to be."""
        path = self.one(self.directories)
        if os.path.islink(path) or not os.path.isdir(path):
            raise LookupError
        return path

    def new(self):
        """A path where nothing is."""
        self.made += 1
        return self.folder() + self.rand.choice((b"/new%d", b"/n\xff%d", b"/.%d", b"/" + b"long" * 50 + b"%d")) % self.made

    def size(self):
        """Bytes of something new."""
        return self.rand.choice((0, 10, 300, 1024, 5000, 70000, 400000))

    def content(self):
        """Text or not."""
        size = self.size()
        return self.rand.randbytes(size) if self.rand.randrange(2) else kinds.text(self.rand, size)

    def small(self, path):
        """Whether not much is in it."""
        count = 0
        for _, directories, files in os.walk(path):
            count += len(directories) + len(files)
            if count > SMALL:
                return False
        return not os.path.ismount(path)

    def remove(self, path):
        """A file, or a directory with what is in it."""
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    # ---- what can happen

    def do_write(self):
        """In the middle of a file."""
        with open(self.one(self.files), "r+b") as file:
            file.seek(self.rand.randrange(os.fstat(file.fileno()).st_size + 1))
            file.write(self.content()[:9000])

    def do_append(self):
        """At its end."""
        with open(self.one(self.files), "ab") as file:
            file.write(self.content())

    def do_truncate(self):
        """To less, or to more."""
        path = self.one(self.files)
        os.truncate(path, int(os.path.getsize(path) * self.rand.choice((0, 0.5, 0.99, 1.5))))

    def do_hole(self):
        """A write far behind the end."""
        with open(self.one(self.files), "r+b") as file:
            file.seek(self.rand.randrange(1_000_000), os.SEEK_END)
            file.write(b"behind a hole")

    def do_replace(self):
        """By another inode, as editors and upgrades do."""
        path, fresh = self.one(self.files), self.new()
        with open(path, "rb") as old:
            content = bytearray(old.read())
        content[len(content) // 2:len(content) // 2 + self.rand.randrange(50)] = self.content()[:100]
        kinds.put(fresh, bytes(content))
        os.rename(fresh, path)

    def do_create(self):
        """A new file."""
        kinds.put(self.new(), self.content(), self.rand.choice((0o600, 0o644, 0o4755, 0o000)))

    def do_copy(self):
        """With its times and attributes."""
        shutil.copy2(self.one(self.files, free=False), self.new())

    def do_rename(self):
        """Of a file or what is none."""
        os.rename(self.one(self.files, self.others), self.new())

    def do_move(self):
        """A directory, elsewhere."""
        path, to = self.one(self.directories), self.new()
        if not to.startswith(path + b"/"):
            os.rename(path, to)

    def do_over(self):
        """Onto what is there already."""
        os.rename(self.one(self.files), self.one(self.files, self.others))

    def do_swap(self):
        """Two directories, or two files, change places."""
        which = self.rand.choice((self.directories, self.files))
        one, other, aside = self.one(which), self.one(which), self.new()
        if one != other and not (one + b"/").startswith(other + b"/") and not (other + b"/").startswith(one + b"/") and \
                not aside.startswith((one + b"/", other + b"/")):
            os.rename(one, aside)
            os.rename(other, one)
            os.rename(aside, other)

    def do_link(self):
        """A further name."""
        os.link(self.one(self.files, self.others, free=False), self.new(), follow_symlinks=False)

    def do_relink(self):
        """Two files become one inode."""
        one, other = self.one(self.files), self.one(self.files)
        if not os.path.samefile(one, other):
            os.unlink(other)
            os.link(one, other)

    def do_part(self):
        """A name of several gets an inode of its own."""
        path = self.one(self.files)
        fresh = self.new()
        shutil.copy2(path, fresh)
        os.rename(fresh, path)

    def do_unlink(self):
        """Gone."""
        os.unlink(self.one(self.files, self.others))

    def do_rmtree(self):
        """A directory with what is in it."""
        path = self.one(self.directories)
        if self.small(path):
            shutil.rmtree(path)

    def do_mkdir(self):
        """With something in it."""
        path = self.new()
        os.mkdir(path)
        for number in range(self.rand.randrange(5)):
            kinds.put(path + b"/%d" % number, self.content())

    def do_symlink(self):
        """A new link."""
        os.symlink(self.rand.choice((b"nowhere", b"/etc", b"\xff", b"../" * 20 + b"x")), self.new())

    def do_retarget(self):
        """A link that leads elsewhere."""
        path = self.one(self.others)
        if os.path.islink(path):
            os.unlink(path)
            os.symlink(b"elsewhere%d" % self.rand.randrange(1000), path)

    def do_type(self):
        """What is there becomes something else of the same name."""
        path = self.one(self.files, self.others, self.directories)
        if os.path.isdir(path) and not os.path.islink(path) and not self.small(path):
            return
        self.remove(path)
        kind = self.rand.randrange(5)
        if kind == 0:
            kinds.put(path, self.content())
        elif kind == 1:
            os.mkdir(path)
            kinds.put(path + b"/inside", self.content())
        elif kind == 2:
            os.symlink(b"now a link", path)
        elif kind == 3:
            os.mkfifo(path)
        else:
            os.mknod(path, 0o644 | stat.S_IFCHR, os.makedev(self.rand.randrange(1, 300), self.rand.randrange(300)))

    def do_node(self):
        """A node that is another device now."""
        path = self.one(self.others)
        if stat.S_ISCHR(os.lstat(path).st_mode):
            os.unlink(path)
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(5, self.rand.randrange(1000)))

    def do_chmod(self):
        """Set-id bits, too."""
        os.chmod(self.one(self.files, self.directories), self.rand.choice((0o600, 0o644, 0o755, 0o4711, 0o2755, 0o1777, 0o000)))

    def do_chown(self):
        """Of links as well."""
        os.chown(self.one(self.files, self.others, self.directories), self.rand.randrange(70000), self.rand.randrange(70000), follow_symlinks=False)

    def do_times(self):
        """To the nanosecond, of anything."""
        os.utime(self.one(self.files, self.others, self.directories, free=False),
                 ns=(7, self.rand.randrange(-10**18, 4 * 10**18)), follow_symlinks=False)

    def do_attribute(self):
        """A new one, another value, or none any more."""
        path = self.one(self.files, self.directories)
        named = [name for name in os.listxattr(path) if name.startswith(("user.", "trusted.", "security.label"))]
        if named and self.rand.randrange(3) == 0:
            os.removexattr(path, self.rand.choice(named))
        else:
            os.setxattr(path, self.rand.choice(named or ["%s.new%d" % (self.rand.choice(("user", "trusted")), self.rand.randrange(5))]), self.rand.randbytes(self.rand.randrange(60)))

    def do_acl(self):
        """An ACL comes, or goes."""
        path = self.one(self.files, self.directories)
        if "system.posix_acl_access" in os.listxattr(path):
            os.removexattr(path, "system.posix_acl_access")
        else:
            kinds.set_acl(path, "system.posix_acl_access", kinds.some_acl(self.rand))

    def do_capability(self):
        """A program is given rights, or they are taken away."""
        path = self.one(self.files)
        if "security.capability" in os.listxattr(path):
            os.removexattr(path, "security.capability")
        else:
            os.setxattr(path, "security.capability", kinds.capability(self.rand))

    def make(self, count):
        """So many of them."""
        self.look()
        done = 0
        while done < count:
            kind = self.rand.choice(self.kinds)
            with contextlib.suppress(LookupError, FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError):
                kind()
                self.counts[kind.__name__[3:]] = self.counts.get(kind.__name__[3:], 0) + 1
                done += 1
            if done % 20 == 0:
                self.look()
