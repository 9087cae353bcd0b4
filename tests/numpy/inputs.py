#!/usr/bin/env python3
"""Draws inputs as docs/methodology.md describes them, without flopwatt's code.

    inputs.py

Prints a line for each distribution and number format: the SHA-256 of the values of
tensor 3 of a run with seed 7, little-endian, and nothing else. tests/determinism.rs
has the same lines. Needs Python only; logarithm, sine and cosine are the C
library's, which differ from those of flopwatt in the last place at most. Rounding
to the smaller formats hides that, so that there are no lines for float64.
"""

import hashlib
import math
import struct

SEED, TENSOR, COUNT = 7, 3, (1 << 16) + 5
BLOCK = 1 << 16
MASK = 200
WORD, STATE = (1 << 64) - 1, (1 << 128) - 1
# Of the 128-bit multiplicative generator (L'Ecuyer, Math. Comp. 68(225), 1999; O'Neill, PCG, 2014).
MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645


def splitmix64(x):
    z = (x + 0x9E3779B97F4A7C15) & WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def stream(seed, tensor, block):
    """64-bit words of the generator for one purpose: PCG XSL-RR 128/64 (MCG)."""
    low = splitmix64(seed ^ splitmix64(block))
    high = splitmix64((seed + splitmix64(~tensor & WORD)) & WORD)
    state = (high << 64 | low) | 1
    while True:
        state = state * MULTIPLIER & STATE
        rotation = state >> 122
        word = (state >> 64 ^ state) & WORD
        yield (word >> rotation | word << (-rotation & 63)) & WORD


def intervals(words):
    """Uniform in [0, 1) with 53 bits."""
    for word in words:
        yield (word >> 11) / (1 << 53)


def normals(values):
    """Box and Muller: two from two."""
    while True:
        u = 1.0 - next(values)
        angle = 2.0 * math.pi * next(values)
        radius = math.sqrt(-2.0 * math.log(u))
        yield radius * math.cos(angle)
        yield radius * math.sin(angle)


def drawn(tensor, draw):
    """COUNT values, each block from a stream of its own."""
    values = []
    for block in range(0, -(-COUNT // BLOCK)):
        source = draw(intervals(stream(SEED, tensor, block)))
        values += [next(source) for _ in range(min(BLOCK, COUNT - len(values)))]
    return values


def uniform(unit, least, choices):
    return lambda values: (least + unit * math.floor(choices * v) for v in values)


def away(x):
    """The nearest integer, halves away from zero."""
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


FORMATS = {
    "f32": lambda x: struct.pack("<f", x),
    "f16": lambda x: struct.pack("<e", x),
    "i8": lambda x: struct.pack("<b", max(-128, min(127, away(x)))),
}
UNIFORM = {
    "f32": uniform(2.0**-24, -1.0, 2.0**25),
    "f16": uniform(2.0**-11, -1.0, 2.0**12),
    "i8": uniform(1.0, -127.0, 255.0),
}


def main():
    normal = drawn(TENSOR, normals)
    kept = [v >= 0.25 for v in drawn(MASK + TENSOR, iter)]
    for name, pack in FORMATS.items():
        deviation = 32.0 if name == "i8" else 1.0
        dense = [pack(deviation * v) for v in normal]
        tensors = {
            "normal": dense,
            "uniform": [pack(v) for v in drawn(TENSOR, UNIFORM[name])],
            "sparse:0.25": [v if keep else bytes(len(v)) for v, keep in zip(dense, kept)],
        }
        for data, values in tensors.items():
            print(data, name, hashlib.sha256(b"".join(values)).hexdigest())


if __name__ == "__main__":
    main()
