"""Streams of int64 and float64 as parameters and byte planes: the candidates, and the choice.

A stream is a `bytes` of 8-byte items. A recipe says how to encode without looking at the data
again; it may turn out not to fit the next batch, and then the choice is made anew.
"""

from __future__ import annotations

from edgemon._core import columns as core
from edgemon.std.collections.abc import Callable, Iterator
from edgemon.typed import NamedTuple
from edgemon.wire import scheme

# (encoding, what it needs to know…)
Recipe = tuple[str | int | float, ...]
Params = list[object]

# Units in the last place by which a decimal may miss: 74.93588199999998 is 74.935882 and 2 units.
TOLERANCE = 8
# Estimated bits of one parameter; they are small integers mostly.
_PARAM_BITS = 20.0
# Of two equal choices the one with the smaller body: more of it fits the window, and max_bytes.
_BODY_BYTE_BITS = 0.02
# (item bytes, map, align, shift): alignments that put the whole exponent into the highest plane.
_ALIGNED = {8: ((8, 0, 52, 4), (8, 1, 53, 3)), 4: ((4, 0, 23, 1), (4, 1, 24, 0))}
_ORDERS = (0, 1, 2)


class Coded(NamedTuple):
    """One encoded stream. bins: (bytes, number of equal planes in them)."""

    enc: str
    params: Params
    bins: list[tuple[bytes, int]]

    def cost_bits(self) -> float:
        """Modelled size after compression."""
        modelled = sum(core.cost_bits(data, planes) for data, planes in self.bins)
        return modelled + _PARAM_BITS * len(self.params) + _BODY_BYTE_BITS * self.size_bytes()

    def size_bytes(self) -> int:
        """Size of the bins before compression."""
        return sum(len(data) for data, _ in self.bins)


class Choice(NamedTuple):
    """A recipe and what it gave."""

    recipe: Recipe
    coded: Coded


def constant(stream: bytes, integers: bool) -> Coded | None:
    """The stream as one value, when all items have the same bits (or there are none)."""
    if not stream:
        return Coded(scheme.CONSTANT, [], [])
    if stream != stream[:8] * (len(stream) // 8):
        return None
    return Coded(scheme.CONSTANT, [core.unpack(stream[:8], -1, integers)[0]], [])


def choose_vectors(stream: bytes, length: int, narrow: bool) -> Choice:
    """As `choose`, for component-major vectors of floats, which may sum to one."""
    plain = choose(stream, False, narrow)
    if length < 2:
        return plain
    # The elements that stay are coded as all would be: one recipe inside the other.
    recipe = (scheme.UNIT_SUM, length, 4 if narrow or core.all_f32(stream) else 8, *plain.recipe)
    coded = apply(recipe, stream, False)
    if coded is None or coded.cost_bits() >= plain.coded.cost_bits():
        return plain
    return Choice(recipe, coded)


def choose(stream: bytes, integers: bool, narrow: bool, dictionary: bool = True) -> Choice:
    """The cheapest encoding by trial. narrow: the type is f4, every item is exactly a float32."""
    best: Choice | None = None
    least = 0.0
    recipes = _int_recipes() if integers else _float_recipes(stream, narrow)
    for recipe in recipes:
        coded = apply(recipe, stream, integers)
        if coded is not None:
            bits = coded.cost_bits()
            if best is None or bits < least:
                best, least = Choice(recipe, coded), bits
    if dictionary:
        recipe = (scheme.DICTIONARY,)
        coded = apply(recipe, stream, integers)
        if coded is not None and (best is None or coded.cost_bits() < least):
            best = Choice(recipe, coded)
    if best is None:  # raw always fits
        raise AssertionError("no encoding fits")
    return best


def apply(recipe: Recipe, stream: bytes, integers: bool) -> Coded | None:
    """Encode by a recipe; None when it does not fit these items exactly, or is larger than raw."""
    name, *arguments = recipe
    coded = _APPLY[str(name)](stream, integers, *arguments)
    # bound_row_bytes promises that no choice makes a body larger than its items.
    return None if coded is None or coded.size_bytes() > len(stream) else coded


def _int_recipes() -> Iterator[Recipe]:
    for order in _ORDERS:
        yield (scheme.INTS, order)


def _float_recipes(stream: bytes, narrow: bool) -> Iterator[Recipe]:
    item = 4 if narrow or core.all_f32(stream) else 8
    yield (scheme.RAW, 4 if narrow else 8)
    for order in _ORDERS[:2]:
        yield (scheme.FLOAT_KEYS, item, 0, 0, 0, order)
    for aligned in _ALIGNED[item]:
        yield (scheme.FLOAT_KEYS, *aligned, 0)
    digits = core.decimal_digits(stream, item, 0)
    if digits >= 0:
        for order in _ORDERS:
            yield (scheme.DECIMAL, item, core.power_of_ten(digits), 0, order)
    loose = core.decimal_digits(stream, item, TOLERANCE)
    if 0 <= loose < digits or loose >= 0 > digits:
        for order in _ORDERS:
            yield (scheme.DECIMAL, item, core.power_of_ten(loose), TOLERANCE, order)
    bits = core.binary_bits(stream)
    if bits > 0:
        for order in _ORDERS[:2]:
            yield (scheme.DECIMAL, item, float(1 << bits), 0, order)


def ints(stream: bytes, order: int = 0) -> Coded:
    """int64 as differences of an order, base and step taken out."""
    encoded = core.ints_encode(stream, order)
    if encoded is None:  # only a shift can fail to fit
        raise AssertionError("unshifted integers always fit")
    params, planes = encoded
    return Coded(scheme.INTS, [*params], [(planes, params[1])])


def _apply_ints(stream: bytes, _integers: bool, order: int) -> Coded | None:
    return ints(stream, order)


def _apply_raw(stream: bytes, _integers: bool, item: int) -> Coded | None:
    return Coded(scheme.RAW, [], [(stream if item == 8 else core.narrow(stream), 1)])


def _apply_float_keys(
    stream: bytes, _integers: bool, item: int, mapping: int, align: int, shift: int, order: int
) -> Coded | None:
    keys = core.float_keys(stream, item, mapping)
    encoded = None if keys is None else core.ints_encode(keys, order, align, shift)
    if encoded is None:
        return None
    params, planes = encoded
    return Coded(scheme.FLOAT_KEYS, [item, mapping, params], [(planes, params[1])])


def _apply_decimal(
    stream: bytes, _integers: bool, item: int, divisor: float, tolerance: int, order: int
) -> Coded | None:
    if item == 4 and not core.all_f32(stream):
        return None
    fit = core.decimal_fit(stream, item, divisor, tolerance)
    if fit is None:
        return None
    whole, residuals, patches = fit
    coded = ints(whole, order)
    params: Params = [int(divisor), item, coded.params]
    bins = coded.bins
    if residuals is not None or patches:
        residual_coded = None if residuals is None else ints(residuals)
        params.append(None if residual_coded is None else residual_coded.params)
        bins += [] if residual_coded is None else residual_coded.bins
    if patches:
        params.append(len(patches) // 4)
        bins += [(patches, 1), (core.gather(stream, patches), 1)]
    return Coded(scheme.DECIMAL, params, bins)


def _apply_dictionary(stream: bytes, integers: bool) -> Coded | None:
    keys = stream if integers else core.float_keys(stream, 8, 0)
    if keys is None:  # only item 4 can fail
        raise AssertionError("64-bit keys always fit")
    split = core.distinct(keys, len(stream) // 32)  # at least four items a distinct value
    if split is None:
        return None
    table, index = split
    table = table if integers else core.float_values(table, 8, 0)
    inner = constant(table, integers) or choose(table, integers, False, dictionary=False).coded
    by_order = [ints(index, order) for order in _ORDERS[:2]]
    coded = min(by_order, key=Coded.cost_bits)
    return Coded(
        scheme.DICTIONARY,
        [len(table) // 8, inner.enc, inner.params, coded.params],
        [*inner.bins, *coded.bins],
    )


def _apply_unit_sum(
    stream: bytes, _integers: bool, length: int, item: int, *inner: str | int | float
) -> Coded | None:
    if item == 4 and not core.all_f32(stream):
        return None
    index, residual, rest = core.unit_split(stream, length, item)
    others = apply(inner, rest, False)
    if others is None:
        return None
    positions, misses = ints(index), ints(residual)
    return Coded(
        scheme.UNIT_SUM,
        [item, positions.params, misses.params, others.enc, others.params],
        [*positions.bins, *misses.bins, *others.bins],
    )


_APPLY: dict[str, Callable[..., Coded | None]] = {
    scheme.INTS: _apply_ints,
    scheme.RAW: _apply_raw,
    scheme.FLOAT_KEYS: _apply_float_keys,
    scheme.DECIMAL: _apply_decimal,
    scheme.DICTIONARY: _apply_dictionary,
    scheme.UNIT_SUM: _apply_unit_sum,
}
