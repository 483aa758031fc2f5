"""A large interpreter that calls a library now and then: some 260 MiB of arrays and objects, and a matrix of 2 MiB by which one
vector after the other is multiplied (numpy's `@`, which is cblas_dgemv of whatever BLAS is installed).

interpreter.py CALLS: prints its resident size in KiB before the first call, then a digest of all results."""

import hashlib
import sys

import numpy

ORDER = 512  # 512 x 512 doubles are 2 MiB
ARRAYS, ARRAY_BYTES = 5, 40 << 20
OBJECTS = 200000


def resident_kib():
    """This process's resident size."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def main():
    """All that it does."""
    calls = int(sys.argv[1])
    random = numpy.random.default_rng(20091)
    arrays = [random.integers(0, 256, ARRAY_BYTES, dtype=numpy.uint8) for _ in range(ARRAYS)]
    objects = {f"key {i}": (i, i / 7, [str(i)]) for i in range(OBJECTS)}
    matrix = random.standard_normal((ORDER, ORDER))
    digest = hashlib.sha256()
    print(resident_kib(), flush=True)
    for _ in range(calls):
        digest.update((matrix @ random.standard_normal(ORDER)).tobytes())
    print(digest.hexdigest(), len(arrays), len(objects))


if __name__ == "__main__":
    main()
