"""The root file system of a far clone: Debian by debootstrap, or a view of this machine's own."""

import contextlib
import os
import pathlib
import re
import subprocess

PACKAGES = ["sqlite3", "imagemagick-6.q16", "lua5.3"]
KEPT_OUT = "usr/bin/lua5.3"  # the light root lacks this program: it must come from the device


def mirror():
    """(suite, URL) of the Debian that this machine installs from."""
    release = pathlib.Path("/etc/os-release").read_text(encoding="utf-8")
    suite = re.search(r"^VERSION_CODENAME=(\S+)", release, re.MULTILINE).group(1)
    for path in [*pathlib.Path("/etc/apt/sources.list.d").glob("*"), pathlib.Path("/etc/apt/sources.list")]:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        found = re.search(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\S+/debian)/?(?:\s|$)", text, re.MULTILINE)
        if found:
            return suite, found.group(1)
    return suite, "http://deb.debian.org/debian"


def bootstrap(cache, folder, packages=PACKAGES, name="far-root"):
    """Debian with these packages in folder/root; the archive of it is kept in `cache` under `name` for the next time."""
    root = pathlib.Path(folder) / "root"
    suite, url = mirror()
    archive = pathlib.Path(cache) / f"{name}-{suite}.tar"
    if not archive.exists():
        fresh = pathlib.Path(folder) / "fresh"
        subprocess.run(["debootstrap", "--variant=minbase", "--include=" + ",".join(packages), suite, str(fresh), url],
                       check=True, stdout=subprocess.DEVNULL)
        archive.parent.mkdir(parents=True, exist_ok=True)
        partial = archive.with_suffix(f".{os.getpid()}")
        subprocess.run(["tar", "-C", str(fresh), "--numeric-owner", "-cf", str(partial), "."], check=True)
        partial.rename(archive)
        fresh.rename(root)
    else:
        root.mkdir()
        subprocess.run(["tar", "-C", str(root), "--numeric-owner", "-xpf", str(archive)], check=True)
    return root


@contextlib.contextmanager
def view(folder):
    """This machine's own root seen through an overlay, without one of the programs; unmounted at the end."""
    base = pathlib.Path(folder)
    upper, work, root = base / "upper", base / "work", base / "root"
    for each in (upper, work, root):
        each.mkdir(parents=True)
    options = f"lowerdir=/,upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "doppel-far-root", "-o", options, str(root)], check=True)
    try:
        (root / KEPT_OUT).unlink(missing_ok=True)
        yield root
    finally:
        subprocess.run(["umount", str(root)], check=False)
