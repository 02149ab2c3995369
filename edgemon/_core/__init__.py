"""The C core: Cython over csrc, one extension a kernel.

Thin and typed: a class checks what comes in, owns one C structure and calls one C function. An
object belongs to the thread that made it: the interpreter lock is held throughout, so sharing one
cannot corrupt memory, but the order of pushes is then nobody's. Numbers are float or int: bool and
text are TypeError, an int beyond the largest double is OverflowError, and NaN is ValueError
wherever it has no order, so callers count it first.
"""
