#!/usr/bin/env python3
"""Recomputes what `flopwatt run --dump DIR` left, in NumPy and double precision.

    check.py DIR

For every case under DIR the product or the attention is computed from the dumped
inputs and compared with output.npy and reference.npy. Prints a line a case: the
largest error of each as a part of what is allowed. The exit status is 1 where an
error is larger, and 2 where there is nothing to compare.

What is allowed is the deterministic bound of rounding error analysis (Higham,
Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1): a sum
of n products is off by at most gamma(n) = n*u/(1 - n*u) of the sum of their
magnitudes, u being the unit roundoff, in whatever order it is added up. flopwatt
itself uses a narrower, probabilistic one. Integers must be exact, and the
float64 reference must agree in the same sense, for the roundoff of both sides.
"""

import json
import pathlib
import sys

import numpy as np

ROUNDOFF = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
# Devices may take smaller numbers for zero.
TINY = {"float16": 2.0**-14, "float32": 2.0**-126, "float64": 2.0**-1022}
INPUTS = {"matmul": ("a", "b"), "attention": ("q", "k", "v")}
# Of operands and of sums, by the precision that a case id names.
TYPES = {
    "f64": ("float64", "float64"),
    "f32": ("float32", "float32"),
    "f16": ("float16", "float16"),
    "f16-f32acc": ("float16", "float32"),
    "i8-i32acc": ("int8", "int32"),
}


def gamma(n, u):
    return n * u / (1.0 - n * u)


def matmul(meta, a, b):
    """The product, and what rounding may change in each element, by roundoff."""
    shape = meta["shape"]
    if shape["layout"] == "tn":
        a = a.swapaxes(1, 2)
    if shape["layout"] == "nt":
        b = b.swapaxes(1, 2)
    batch, m, n, k = (shape[name] for name in ("batch", "m", "n", "k"))
    assert a.shape == (batch, m, k), f"A is {a.shape}"
    assert b.shape == (batch, k, n), f"B is {b.shape}"
    magnitude = np.abs(a) @ np.abs(b)
    # One rounding more than terms: the result is stored.
    return a @ b, lambda u: gamma(k + 1, u) * magnitude


def attention(meta, q, k, v):
    """softmax(Q K^T / sqrt(d)) V, and the same bound.

    A score is off by gamma(d + 2) of kappa = sum |q k| / sqrt(d), and its
    exponential by a factor of that, of the error of exp, for which WGSL allows
    3 + 2 |x| units in the last place of two roundoffs each, and of one rounding a
    key for sums that are rescaled as keys come in. Numerator and denominator both
    have it, hence twice.
    """
    shape = meta["shape"]
    names = ("batch", "heads", "kv_heads", "q_len", "kv_len", "head_dim")
    batch, heads, kv_heads, q_len, kv_len, d = (shape[name] for name in names)
    assert q.shape == (batch, heads, q_len, d), f"Q is {q.shape}"
    assert k.shape == v.shape == (batch, kv_heads, kv_len, d), f"K is {k.shape}, V {v.shape}"
    # Query heads share key/value heads in groups of neighbours.
    k, v = (np.repeat(x, heads // kv_heads, axis=1) for x in (k, v))
    # The kernels get the factor in single precision.
    factor = float(np.float32(1.0 / np.sqrt(d)))
    scores = factor * np.einsum("bhid,bhjd->bhij", q, k)
    kappa = factor * np.einsum("bhid,bhjd->bhij", np.abs(q), np.abs(k))
    seen = np.ones((q_len, kv_len), bool)
    if shape["causal"]:
        # The last query sees the last key.
        seen = np.tri(q_len, kv_len, kv_len - q_len, dtype=bool)
    scores = np.where(seen, scores, -np.inf)
    highest = scores.max(axis=-1, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, 0.0)
    weights = np.exp(scores - highest)
    total = weights.sum(axis=-1, keepdims=True)
    # A query that sees no key gets zeros.
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0.0)
    distance = np.where(seen, highest - scores, 0.0)
    kappa = np.where(seen, kappa, 0.0)

    def allowed(u):
        exponent = gamma(d + 2, u) * kappa + 2.0 * u * (3.0 + 2.0 * distance)
        worst = exponent.max(axis=-1, keepdims=True) + gamma(3 * kv_len + 5, u)
        return 2.0 * worst * (weights @ np.abs(v))

    return weights @ v, allowed


def part_of(found, expected, allowed):
    """The largest error over what is allowed there; not a number if any is."""
    error = np.abs(found - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.max(np.where(error == 0.0, 0.0, error / allowed)))


def check(folder):
    """The case's id and the errors of output and reference; None for no reference."""
    meta = json.loads((folder / "meta.json").read_text())
    operation = meta["operation"]
    operand, accumulator = TYPES[meta["precision"]]
    inputs = [np.load(folder / f"{name}.npy") for name in INPUTS[operation]]
    for array in inputs:
        assert array.dtype == operand, f"an input is {array.dtype}, not {operand}"
    inputs = [array.astype(np.float64) for array in inputs]
    output = np.load(folder / "output.npy")
    if operation == "attention":
        # Half-precision attention adds up in single precision and stores halves.
        stored, accumulator = operand, "float32"
    else:
        stored = accumulator
    assert output.dtype == stored, f"the output is {output.dtype}, not {stored}"

    compute = {"matmul": matmul, "attention": attention}[operation]
    expected, allowed = compute(meta, *inputs)
    assert output.shape == expected.shape, f"the output is {output.shape}"
    if accumulator == "int32":
        bound = np.zeros_like(expected)
    else:
        # NumPy rounds as well.
        bound = allowed(ROUNDOFF[accumulator]) + allowed(ROUNDOFF["float64"])
        # The output is rounded once more where it is stored, as are the weights.
        if stored != accumulator:
            bound = bound + 2.0 * ROUNDOFF[stored] * (np.abs(expected) + bound)
        bound = bound + TINY[stored]
    of_output = part_of(output.astype(np.float64), expected, bound)

    path = folder / "reference.npy"
    if not path.exists():
        assert meta["reference_reason"], "there is neither a reference nor a reason"
        return meta["id"], of_output, None
    reference = np.load(path)
    assert reference.dtype == "float64", f"the reference is {reference.dtype}"
    bound = 2.0 * allowed(ROUNDOFF["float64"])
    return meta["id"], of_output, part_of(reference, expected, bound)


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    folders = sorted(path.parent for path in pathlib.Path(arguments[0]).glob("*/meta.json"))
    if not folders:
        print(f"nothing to compare under {arguments[0]}", file=sys.stderr)
        return 2
    print(f"{'case':<52} {'output':>10} {'reference':>10}  (error over what is allowed)")
    wrong = 0
    for folder in folders:
        try:
            case, *errors = check(folder)
        except (AssertionError, OSError, ValueError, KeyError) as error:
            print(f"{folder.name:<52} WRONG: {error}")
            wrong += 1
            continue
        # Not a number is not below one.
        right = all(error is None or error <= 1.0 for error in errors)
        shown = ["-" if error is None else f"{error:.2g}" for error in errors]
        print(f"{case:<52} {shown[0]:>10} {shown[1]:>10}  {'ok' if right else 'WRONG'}")
        wrong += not right
    print(f"{len(folders) - wrong} of {len(folders)} cases agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
