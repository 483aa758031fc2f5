"""A clone host whose clones have no other root than what their devices synchronised."""

import os
import pathlib
import shutil
import subprocess


def write_rules(config, *trees):
    """Nothing but these trees of the machine, which are named from its root, is synchronised by who has this XDG_CONFIG_HOME."""
    lines, known = ["/*"], set()
    for each in sorted(trees):
        for parent in [*reversed(each.parents[:-1]), each]:
            if parent not in known:
                known.add(parent)
                lines += [f"!{parent}"] + ([f"{parent}/*"] if parent != each else [])
    (config / "doppel").mkdir(parents=True)
    (config / "doppel/sync.rules").write_text("\n".join(lines) + "\n")


def programs(*names):
    """The files that these programs need."""
    found = [pathlib.Path(top) for top in ("/bin", "/lib", "/lib64") if os.path.islink(top)]
    for path in [pathlib.Path(shutil.which(name)) for name in names]:
        needed = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True, check=True).stdout
        libraries = [pathlib.Path(word) for word in needed.split() if word.startswith("/")]
        for file in [path, *libraries]:
            found += [file.parent.resolve() / file.name, file.resolve()]
    return set(found)
