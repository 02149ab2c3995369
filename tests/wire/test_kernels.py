"""The C kernels against the specification, written down once more in slow and obvious Python."""

from __future__ import annotations

import math
import shlex
import struct
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon._core import columns as core
from tests.core.test_sanitizers import SANITIZE, STRICT, compiler
from tests.wire import batches
from tests.wire.batches import f32

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"
WRAP = 2**64


def ints_of(stream: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(stream) // 8}q", stream))


def stream_of(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def floats_of(stream: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(stream) // 8}d", stream))


def floats_stream(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def signed(value: int) -> int:
    return (value + WRAP // 2) % WRAP - WRAP // 2


def slow_ints(parameters: list[int], planes: bytes, n: int) -> list[int]:
    """The section "Integers in planes" of the specification."""
    order, width, shift, step, base, *first = parameters
    m = n - order
    values = []
    for k in range(m):
        residual = sum(planes[j * m + k] << 8 * j for j in range(width))
        values.append(signed(base + (residual >> shift) * step))
    for start in reversed(first):
        sums = [start]
        for difference in values:
            sums.append(signed(sums[-1] + difference))
        values = sums
    return values


@settings(max_examples=400, deadline=None)
@given(
    st.lists(batches.ints, max_size=40),
    st.integers(0, 2),
    st.one_of(st.just((0, 0)), st.tuples(st.integers(0, 63), st.integers(0, 63))),
)
def test_ints_are_packed_as_specified(
    values: list[int], order: int, aligned: tuple[int, int]
) -> None:
    encoded = core.ints_encode(stream_of(values), order, *aligned)
    if encoded is None:
        assert aligned[1] > 0
        return
    parameters, planes = encoded
    assert len(planes) == (len(values) - parameters[0]) * parameters[1]
    assert slow_ints(parameters, planes, len(values)) == values
    order, width, shift, step, base, *first = parameters
    back = core.ints_decode(planes, len(values), order, width, shift, step, base, tuple(first))
    assert ints_of(back) == values


def test_a_constant_stride_takes_no_byte() -> None:
    parameters, planes = core.ints_encode(stream_of([7 + 100_000 * k for k in range(50)]), 1) or (
        [],
        b"?",
    )
    assert (parameters, planes) == ([1, 0, 0, 1, 100_000, 7], b"")


def test_a_common_step_is_taken_out() -> None:
    parameters, planes = core.ints_encode(stream_of([5 + 4096 * k for k in (0, 9, 255, 4)])) or (
        [],
        b"?",
    )
    assert (parameters, planes) == ([0, 1, 0, 4096, 5], bytes([0, 9, 255, 4]))


def slow_key(value: float, item: int, mapping: int) -> int:
    bits = int.from_bytes(struct.pack("<f" if item == 4 else "<d", value), "little")
    width = 8 * item
    sign = bits >> (width - 1)
    if mapping == 0:
        return bits if not sign else (bits ^ (2 ** (width - 1) - 1)) - 2**width
    rotated = (bits << 1) % 2**width | sign
    return rotated if item == 4 else signed(rotated ^ 2**63)


@settings(max_examples=300, deadline=None)
@given(st.lists(batches.floats, max_size=20), st.sampled_from([4, 8]), st.sampled_from([0, 1]))
def test_float_keys_are_as_specified(values: list[float], item: int, mapping: int) -> None:
    values = [value for value in values if not math.isnan(value)]
    if item == 4:
        values = [f32(value) for value in values]
    keys = core.float_keys(floats_stream(values), item, mapping)
    assert keys is not None
    assert ints_of(keys) == [slow_key(value, item, mapping) for value in values]
    assert core.float_values(keys, item, mapping) == floats_stream(values)


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=20))
def test_keys_of_map_0_keep_the_order(values: list[float]) -> None:
    keys = ints_of(core.float_keys(floats_stream(sorted(values)), 8, 0) or b"")
    assert keys == sorted(keys) or 0.0 in values


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(lambda a, e: a / 10**e, st.integers(-(10**6), 10**6), st.integers(0, 4)),
        min_size=1,
    )
)
def test_decimals_get_the_fewest_digits(values: list[float]) -> None:
    digits = core.decimal_digits(floats_stream(values), 8, 0)
    exact = [min(e for e in range(20) if round(v * 10**e) / 10**e == v) for v in values]
    if len(values) < 32:
        assert digits == max(exact)
    fit = core.decimal_fit(floats_stream(values), 8, 10.0 ** max(exact), 0)
    assert fit is not None
    whole, _, patches = fit
    assert patches == b""
    assert [Fraction(a, 10 ** max(exact)) for a in ints_of(whole)] == [
        Fraction(repr(value)) if value else 0 for value in values
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(batches.floats, max_size=80),
    st.sampled_from([1.0, 10.0, 1000.0, 1e9, 2.0**30]),
    st.integers(0, 8),
)
def test_what_does_not_fit_is_listed(values: list[float], divisor: float, tolerance: int) -> None:
    fit = core.decimal_fit(floats_stream(values), 8, divisor, tolerance)
    if fit is None:
        return
    whole, residuals, patches = fit
    assert len(patches) // 4 <= len(values) // 32
    assert all(abs(a) <= 2**53 for a in ints_of(whole))
    assert residuals is None or all(abs(u) <= tolerance for u in ints_of(residuals))
    back = core.decimal_values(whole, residuals, 8, divisor)
    back = core.patch(back, patches, core.gather(floats_stream(values), patches))
    assert core.float_keys(back, 8, 0) == core.float_keys(floats_stream(values), 8, 0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(batches.floats, min_size=3, max_size=3), max_size=20))
def test_any_vectors_can_be_split_and_joined(vectors: list[list[float]]) -> None:
    stream = floats_stream([row[k] for k in range(3) for row in vectors])
    index, residual, rest = core.unit_split(stream, 3, 8)
    assert all(0 <= k < 3 for k in ints_of(index))
    assert core.unit_join(index, residual, rest, 3, 8) == stream


def test_confidences_miss_one_by_a_few_units() -> None:
    rows = [[math.exp(math.sin(k * j + j)) for j in range(5)] for k in range(100)]
    rows = [[value / sum(row) for value in row] for row in rows]
    stream = floats_stream([row[j] for j in range(5) for row in rows])
    index, residual, _ = core.unit_split(stream, 5, 8)
    assert ints_of(index) == [row.index(max(row)) for row in rows]
    assert max(map(abs, ints_of(residual))) <= 16


def test_where_the_sum_is_nan_zero_is_predicted() -> None:
    """The bits of a computed NaN differ between machines; a reader on another must not see them."""
    index, residual, _ = core.unit_split(floats_stream([0.5, math.nan]), 2, 8)
    assert ints_of(index) == [0]
    assert ints_of(residual) == [slow_key(0.5, 8, 0)]


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), max_size=40))
def test_nulls_are_one_bit_each(values: list[float | None]) -> None:
    dense, nulls = core.pack_floats([*values])
    if nulls is None:
        assert None not in values
        nulls = bytes((len(values) + 7) // 8)
    assert [bool(nulls[k // 8] >> k % 8 & 1) for k in range(len(values))] == [
        v is None for v in values
    ]
    assert core.count_present(nulls, len(values)) == len(dense) // 8
    assert core.spread(core.unpack(dense, -1, False), nulls, len(values)) == values


def test_blocks_end_between_unlike_planes() -> None:
    noise = bytes((k * 2654435761 >> 7) % 251 for k in range(4000))
    letters = bytes(b"abcd"[(k * k * 2654435761 >> 9) % 4] for k in range(4000))
    assert core.block_ends(noise + letters, [4000, 8000]) == [4000]
    assert core.block_ends(noise + noise[::-1], [4000, 8000]) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: core.ints_encode(b"1234567"),
        lambda: core.ints_encode(b"", 3),
        lambda: core.ints_decode(b"", 1, 0, 9, 0, 1, 0, ()),
        lambda: core.ints_decode(b"", 1, 2, 0, 0, 1, 0, (1, 2)),
        lambda: core.ints_decode(b"", 1, 0, 0, 64, 1, 0, ()),
        lambda: core.ints_decode(b"", 1, 0, 0, 0, 0, 0, ()),
        lambda: core.ints_decode(b"1", 2, 0, 1, 0, 1, 0, ()),
        lambda: core.ints_decode(b"", 1, 1, 0, 0, 1, 0, ()),
        lambda: core.ints_decode(b"", -1, 0, 0, 0, 1, 0, ()),
        lambda: core.take(bytes(8), stream_of([1])),
        lambda: core.take(bytes(8), stream_of([-1])),
        lambda: core.gather(bytes(8), b"\1\0\0\0"),
        lambda: core.patch(bytes(8), b"\1\0\0\0", bytes(8)),
        lambda: core.patch(bytes(8), b"\0\0\0\0", b""),
        lambda: core.float_keys(bytes(8), 2, 0),
        lambda: core.decimal_values(bytes(8), bytes(16), 8, 1.0),
        lambda: core.unit_join(bytes(8), bytes(8), bytes(8), 3, 8),
        lambda: core.unit_split(bytes(8), 1, 8),
        lambda: core.spread([], b"\0", 9),
        lambda: core.spread([1.0], b"\0", 2),
        lambda: core.spread([1.0, 2.0], b"\2", 2),
        lambda: core.count_present(b"", 1),
        lambda: core.unpack(b"", 0, False),
        lambda: core.power_of_ten(23),
        lambda: core.block_ends(b"abc", [4]),
        lambda: core.block_ends(b"abc", [2, 1]),
        lambda: core.cost_bits(b"abc", 2),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]


def test_kernels_have_no_undefined_behaviour(tmp_path: Path) -> None:
    cc = compiler()
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    built = subprocess.run(
        [*cc, *shlex.split(SANITIZE), str(probe), "-o", str(tmp_path / "probe")], check=False
    )
    if built.returncode != 0:
        pytest.skip("needs a compiler with the address and undefined-behaviour sanitizers")
    program = tmp_path / "kernels"
    sources = [str(HERE / "kernels.c"), str(CSRC / "em_columns.c")]
    flags = [*shlex.split(STRICT), *shlex.split(SANITIZE), "-O1", "-g", f"-I{CSRC}"]
    subprocess.run([*cc, *flags, *sources, "-lm", "-o", str(program)], check=True)
    run = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")
