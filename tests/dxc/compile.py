"""Compiles HLSL with the DirectX Shader Compiler.

    compile.py libdxcompiler.so FILE...

A file holds what `flopwatt shader --format hlsl` prints: programs one behind the
other, each pass below a line that begins with "// pass". Nothing is made of the
DXIL; what counts is that there is some.
"""

import ctypes
import re
import sys
import uuid

# What wgpu asks of the compiler, for compute shaders of the model that naga writes.
ARGUMENTS = ["-T", "cs_6_6", "-E", "main", "-HV", "2018", "-enable-16bit-types"]

COMPILER = "73e22d93-e6ce-47f3-b5bf-f0664f39c1b0"
COMPILER_3 = "228b4687-5a6a-4730-900c-9702b2203f54"
RESULT = "58346cda-dde7-4497-9461-6f87af5e0659"
UTF_8 = 65001
# Methods of an interface behind those of IUnknown, which outside of Windows has a
# destructor of two entries after its three.
FIRST = 5
COMPILE = FIRST
GET_STATUS, GET_ERRORS = FIRST, FIRST + 2
GET_POINTER, GET_SIZE = FIRST, FIRST + 1


class Source(ctypes.Structure):
    """DxcBuffer."""

    _fields_ = [
        ("text", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("encoding", ctypes.c_uint32),
    ]


def guid(text):
    return (ctypes.c_ubyte * 16)(*uuid.UUID(text).bytes_le)


def method(interface, index, result, *arguments):
    """A method by its place in the interface's table."""
    table = ctypes.cast(interface, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
    function = ctypes.CFUNCTYPE(result, ctypes.c_void_p, *arguments)(table[index])
    return lambda *values: function(interface, *values)


def compiler(library):
    interface = ctypes.c_void_p()
    create = ctypes.CDLL(library).DxcCreateInstance
    if create(guid(COMPILER), guid(COMPILER_3), ctypes.byref(interface)) != 0:
        sys.exit(f"{library} makes no compiler")
    return interface


def compiled(interface, text):
    """None, or the compiler's objections."""
    encoded = text.encode()
    source = Source(encoded, len(encoded), UTF_8)
    arguments = (ctypes.c_wchar_p * len(ARGUMENTS))(*ARGUMENTS)
    result = ctypes.c_void_p()
    pointer = ctypes.c_void_p
    run = method(
        interface, COMPILE, ctypes.c_int32,
        pointer, pointer, ctypes.c_uint32, pointer, pointer, pointer,
    )
    outcome = run(
        ctypes.byref(source), arguments, len(ARGUMENTS), None, guid(RESULT), ctypes.byref(result)
    )
    if outcome != 0:
        return f"the compiler failed with {outcome & 0xFFFFFFFF:#x}"
    status, errors = ctypes.c_int32(), ctypes.c_void_p()
    method(result, GET_STATUS, ctypes.c_int32, pointer)(ctypes.byref(status))
    if status.value == 0:
        return None
    method(result, GET_ERRORS, ctypes.c_int32, pointer)(ctypes.byref(errors))
    start = method(errors, GET_POINTER, ctypes.c_void_p)()
    size = method(errors, GET_SIZE, ctypes.c_size_t)()
    return ctypes.string_at(start, size).decode(errors="replace").rstrip("\0")


def main(library, files):
    interface = compiler(library)
    # Whoever calls wrongly may get no objections at all.
    if compiled(interface, "[numthreads(1, 1, 1)] void main() {}") is not None:
        sys.exit("an empty shader does not compile")
    if compiled(interface, "[numthreads(1, 1, 1)] void main() { nothing; }") is None:
        sys.exit("a wrong shader compiles")
    shaders, failed = 0, 0
    for path in files:
        with open(path, encoding="utf-8") as file:
            parts = re.split(r"^(?=// pass )", file.read(), flags=re.MULTILINE)
        for part in parts[1:]:
            shaders += 1
            objections = compiled(interface, part)
            if objections is not None:
                failed += 1
                print(f"{path}: {part.splitlines()[0]}\n{objections}")
    print(f"{shaders} shaders, {failed} failed")
    sys.exit(1 if failed or not shaders else 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
