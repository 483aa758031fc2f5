"""Ordering servers of documents for tests: clonedocd, started, killed and asked; users by document-user (tests/integration/clonedocd)."""

import subprocess

from served import Served


def must(good, *words):
    """Raises with words where it is not good."""
    if not good:
        raise RuntimeError(" ".join(str(word) for word in words))


class Server(Served):
    """clonedocd, and users of it."""

    def __init__(self, bench, name, *options, state=None):
        super().__init__(bench.clonedocd, state or bench.folder / name, *options)
        self.user, self.log = bench.user, bench.folder / f"{name}.log"
        self.state.mkdir(mode=0o700, exist_ok=True)
        bench.servers.append(self)

    def begin(self, what, *words, out=subprocess.PIPE):
        """A document-user, running."""
        return subprocess.Popen([self.user, what, self.place, *map(str, words)], stdin=subprocess.DEVNULL, text=True,
                                stdout=out, stderr=subprocess.PIPE)

    def call(self, what, *words):
        """The output of one that has to end well."""
        return ended(self.begin(what, *words))

    def entries(self, name):
        """[(author, sequence)] in their order, as a member reads and verifies them."""
        lines = self.call("read", name).splitlines()
        found = [line.split() for line in lines if not line.startswith("head ")]
        must([int(number) for number, _, _ in found] == list(range(1, len(found) + 1)), "numbers", found[:3])
        return [(author, int(sequence)) for _, author, sequence in found]


def ended(process, seconds=400):
    """What a document-user says, when it has ended well."""
    out, err = process.communicate(timeout=seconds)
    must(process.returncode == 0, "status", process.returncode, out[-300:], err)
    return out


def acknowledged(out):
    """{sequence: number} of what a writer was told, but for a line that is not whole."""
    lines = out[:out.rfind("\n") + 1].splitlines()
    return {int(line.split()[0]): int(line.split()[1]) for line in lines if line[:1].isdigit()}


def must_hold(entries, *told):
    """What was acknowledged to each writer is there, under its number, and no number was given twice."""
    numbers = [number for one in told for number in one.values()]
    must(len(numbers) == len(set(numbers)), "a number was given twice")
    for one in told:
        authors = {entries[number - 1][0] for number in one.values()}
        must(len(authors) <= 1, "entries of one writer have several authors")
        wrong = {sequence: number for sequence, number in one.items() if entries[number - 1][1] != sequence}
        must(not wrong, "acknowledged and not there:", wrong)
