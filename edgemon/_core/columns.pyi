"""Column kernels of the batch format.

A dense buffer is a `bytes` of 8-byte little-endian items: float64, or int64. `planes` are byte
planes as specified in edgemon/wire/__init__.py. Every function checks the sizes of what it is given
and raises ValueError; none keeps state. Time and memory are linear in the items.
"""

from typing import Any

from edgemon.records import Value

def null_bitmap(values: list[Value]) -> bytes | None:
    """Bit k (lowest first) set = values[k] is None; None when none is."""

def pack_floats(values: list[Value]) -> tuple[bytes, bytes | None]:
    """Dense float64 of the values that are not None, and the bitmap of nulls, None when all are.

    int is taken as float. TypeError for anything else, bool included.
    """

def pack_ints(values: list[Value]) -> tuple[bytes, bytes | None]:
    """Dense int64 and bitmap. OverflowError outside int64, TypeError for what is no int."""

def pack_vectors(values: list[Value], length: int, integers: bool) -> tuple[bytes, bytes | None]:
    """Dense items in component-major order, and the bitmap of nulls."""

def unpack(dense: bytes, length: int, integers: bool) -> list[Any]:
    """The inverse without nulls. length -1: numbers; > 0: vectors of that length."""

def spread(dense: list[Value], nulls: bytes, rows: int) -> list[Value]:
    """Put None back where the bitmap says. ValueError when the counts do not agree."""

def count_present(nulls: bytes, rows: int) -> int:
    """Rows that are not null. ValueError when the bitmap is of another length."""

def number_tails(values: list[str], prefix: str) -> tuple[bytes, int] | None:
    """(the int64 behind the prefix, digits to which all are padded or 0).

    None when a tail is not 1 to 18 decimal digits, or only some are padded with zeros.
    """

def join_texts(values: list[str] | list[bytes]) -> tuple[bytes, bytes]:
    """(int64 lengths in bytes, all bytes) of strings, as UTF-8, or of byte strings."""

def ints_encode(
    values: bytes, order: int = 0, align: int = 0, shift: int = 0
) -> tuple[list[int], bytes] | None:
    """([order, width, shift, step, base, first…], planes); None when a shift does not fit."""

def ints_decode(
    planes: bytes,
    n: int,
    order: int,
    width: int,
    shift: int,
    step: int,
    base: int,
    first: tuple[int, ...],
) -> bytes:
    """The n int64 again."""

def distinct(values: bytes, limit: int) -> tuple[bytes, bytes] | None:
    """(distinct values in int64 order, index of each value); None: there are more than limit."""

def take(table: bytes, index: bytes) -> bytes:
    """table[index[k]] for each k."""

def float_keys(values: bytes, item: int, mapping: int) -> bytes | None:
    """Float bits as int64; None when item is 4 and a value is no float32."""

def float_values(keys: bytes, item: int, mapping: int) -> bytes:
    """The inverse of float_keys."""

def all_f32(values: bytes) -> bool:
    """Whether every float64 is exactly a float32 (NaN is)."""

def round_f32(values: bytes) -> bytes:
    """Each float64 rounded to float32, still as float64."""

def narrow(values: bytes) -> bytes:
    """float64 items to float32 items."""

def widen(values: bytes) -> bytes:
    """float32 items to float64 items."""

def decimal_digits(values: bytes, item: int, tolerance: int) -> int:
    """Fewest decimal digits that fit 31 of 32 of a sample of the values; -1: none do."""

def binary_bits(values: bytes) -> int:
    """Fewest binary digits that fit 31 of 32 of a sample of the values; -1: none do."""

def power_of_ten(digits: int) -> float:
    """10^digits, 0 <= digits <= 22, exact."""

def decimal_fit(
    values: bytes, item: int, divisor: float, tolerance: int
) -> tuple[bytes, bytes | None, bytes] | None:
    """(integers, residuals or None, uint32 positions that do not fit); None: more than n // 32."""

def decimal_values(ints: bytes, residuals: bytes | None, item: int, divisor: float) -> bytes:
    """The inverse of decimal_fit, without the patches."""

def gather(values: bytes, positions: bytes) -> bytes:
    """values[positions[k]]; positions are uint32."""

def patch(values: bytes, positions: bytes, replacements: bytes) -> bytes:
    """A copy with values[positions[k]] = replacements[k]."""

def unit_split(values: bytes, length: int, item: int) -> tuple[bytes, bytes, bytes]:
    """(position of the largest element, units by which 1 - sum of the others misses it, the others).

    values: component-major vectors of `length` >= 2 elements; the others are component-major too.
    """

def unit_join(index: bytes, residual: bytes, rest: bytes, length: int, item: int) -> bytes:
    """The inverse of unit_split."""

def cost_bits(planes: bytes, count: int) -> float:
    """Modelled compressed size in bits of `count` planes of equal length."""

def block_ends(body: bytes, ends: list[int]) -> list[int]:
    """Of the offsets between segments those where a new entropy table pays."""
