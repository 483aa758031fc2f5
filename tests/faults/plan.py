"""What goes wrong in a run: chosen by a seeded generator from what a run without faults was like."""

import dataclasses

# Kinds and how often each is chosen. A fault of the link happens at a place in the stream or at a time; a kill at a time.
KINDS = {"reset": 20, "finish": 10, "stall": 15, "stall-for-ever": 5, "two-link-faults": 15, "kill-session": 12,
         "kill-mirror": 12, "kill-doppeld": 6, "kill-doppeld-and-reset": 5}


@dataclasses.dataclass
class Shape:
    """How much a run without faults sends each way, and how long it takes: where faults can be."""

    bytes: dict   # "up", "down" → bytes
    records: dict  # "up", "down" → TLS records
    seconds: float


@dataclasses.dataclass
class Plan:
    """Faults for the proxy (as fault-proxy takes them), and kills: (seconds after the start, whom)."""

    kind: str
    faults: list = dataclasses.field(default_factory=list)
    kills: list = dataclasses.field(default_factory=list)

    def __str__(self):
        words = self.faults + [f"kill {whom} at {when:.3f} s" for when, whom in self.kills]
        return f"{self.kind}: {'; '.join(words)}"


def _place(random, shape, way):
    what = random.choice(["byte", "record", "record", "ms"])
    if what == "byte":
        return f"byte={random.randrange(max(1, shape.bytes[way]))}"
    if what == "record":
        return f"record={random.randrange(max(1, shape.records[way]))}"
    return f"ms={int(random.uniform(0, shape.seconds) * 1000)}"


def _link_fault(random, shape, action):
    way = random.choice(["up", "down"])
    away = f",away={random.randrange(1, 1500)}" if action in ("rst", "fin") and random.random() < 0.5 else ""
    return f"{way},{_place(random, shape, way)},{action}{away}"


def _stall(random):
    return f"stall={random.randrange(50, 1500)}"


def draw(random, shape):
    """A plan; the same for the same generator and shape."""
    kind = random.choices(list(KINDS), weights=list(KINDS.values()))[0]
    plan = Plan(kind)
    when = random.uniform(0, shape.seconds * 1.05)
    if kind == "reset":
        plan.faults.append(_link_fault(random, shape, "rst"))
    elif kind == "finish":
        plan.faults.append(_link_fault(random, shape, "fin"))
    elif kind == "stall":
        plan.faults.append(_link_fault(random, shape, _stall(random)))
    elif kind == "stall-for-ever":
        plan.faults.append(_link_fault(random, shape, "stall"))
    elif kind == "two-link-faults":
        plan.faults += [_link_fault(random, shape, random.choice(["rst", "fin", _stall(random)])) for _ in range(2)]
    elif kind == "kill-doppeld-and-reset":
        plan.kills.append((when, "doppeld"))
        plan.faults.append(_link_fault(random, shape, "rst"))
    else:
        plan.kills.append((when, kind.removeprefix("kill-")))
    return plan
