"""Numbers of JSON: the table of powers, and doubles against Python's float() where rounding is hardest."""

from __future__ import annotations

import json
import random
import re
import struct
from fractions import Fraction

import pytest

from edgemon.ingest.protocol import Connection, Limits
from edgemon.metrics import Counters
from edgemon.records import Prediction
from tests.core.test_sanitizers import CSRC

LOW, HIGH = -342, 308
LARGEST = Limits(max_frame_bytes=1 << 20)


def parsed(literals: list[str]) -> list[float]:
    connection = Connection(LARGEST, Counters())
    found: list[float] = []
    for at in range(0, len(literals), 1000):
        line = '{"model":"m","output":[' + ",".join(literals[at : at + 1000]) + "]}\n"
        for record in connection.feed(line.encode()):
            assert isinstance(record, Prediction) and isinstance(record.output, list)
            found += record.output
    assert connection.complaint is None
    return found


def check(literals: list[str]) -> None:
    said, wanted = parsed(literals), [float(json.loads(literal)) for literal in literals]
    assert len(said) == len(wanted)
    for literal, mine, theirs in zip(literals, said, wanted, strict=True):
        assert struct.pack("<d", mine) == struct.pack("<d", theirs), literal


def exact(value: Fraction, places: int) -> str:
    """`value` = k / 2^places as decimal digits, all of them."""
    digits = str(int(value * 10**places)).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


def power_of_five(exponent: int) -> int:
    """Its 128 highest bits: cut off, or of a reciprocal rounded up."""
    if exponent >= 0:
        power: int = 5**exponent
        shift = 128 - power.bit_length()
        return power << shift if shift >= 0 else power >> -shift
    power = 5**-exponent
    bits = (power - 1).bit_length()
    value = (1 << (bits + 127 if exponent >= -27 else 2 * bits + 128)) // power + 1
    return value >> max(0, value.bit_length() - 128)


def test_the_table_of_powers_is_what_its_formula_says() -> None:
    words = re.findall(r"0x([0-9a-f]{16})", (CSRC / "em_powers.h").read_text())
    table = [int(words[i] + words[i + 1], 16) for i in range(0, len(words), 2)]
    assert table == [power_of_five(exponent) for exponent in range(LOW, HIGH + 1)]


@pytest.mark.parametrize("seed", range(3))
def test_doubles_of_all_sizes_survive_their_shortest_and_longer_forms(seed: int) -> None:
    chance = random.Random(seed)
    values = [struct.unpack("<d", chance.randbytes(8))[0] for _ in range(5000)]
    values = [value for value in values if value - value == 0.0]
    check([repr(value) for value in values])
    check([f"{value:.{chance.randrange(0, 40)}e}" for value in values])


@pytest.mark.parametrize("seed", range(3))
def test_random_digits_and_exponents_are_rounded_correctly(seed: int) -> None:
    chance = random.Random(seed)
    literals = []
    for _ in range(10000):
        digits = str(chance.randrange(10 ** chance.randrange(1, 26)))
        point = chance.randrange(len(digits) + 1)
        fraction = f".{digits[point:]}" if digits[point:] else ""
        exponent = chance.choice([0, 0, 5, 22, 23, 60, 308, 345]) * chance.choice([-1, 1])
        literals.append(f"{int(digits[:point] or '0')}{fraction}e{exponent}")
    check(literals)


@pytest.mark.parametrize("seed", range(2))
def test_the_middle_between_two_doubles_goes_to_the_even_one_and_a_hair_beside_it_does_not(
    seed: int,
) -> None:
    chance = random.Random(seed)
    literals = []
    for _ in range(150):
        power = chance.choice(
            [-1074, -1074, chance.randrange(-1074, 971), chance.randrange(-60, 60)]
        )
        mantissa = chance.choice([chance.randrange(2**52, 2**53), chance.randrange(2**53)])
        middle = (Fraction(mantissa) + Fraction(1, 2)) * Fraction(2) ** power
        places = max(0, 1 - power)
        text = exact(middle, places)
        assert Fraction(text) == middle
        text += "" if "." in text else ".0"
        literals += [text, text + "0" * 900 + "1", f"{text}e0", "-" + text]
        below = exact(middle - Fraction(1, 10 ** (places + 3)), places + 3)
        literals.append(below)
        head, tail = text.split(".")
        literals += [
            f"{int(head + tail)}e-{len(tail)}",
            f"0.{'0' * 50}{head}{tail}e{len(head) + 50}",
        ]
    check(literals)


def test_zeros_and_the_ends_of_the_range() -> None:
    check(
        ["0", "-0", "-0.0", "0e5", "0." + "0" * 2000, "0." + "0" * 2000 + "1", "0." + "0" * 300 + "1e301",
         "1" + "0" * 400 + ".0e-400", "1" + "0" * 400 + ".5e-92", "4.9e-324", "2.4703282292062327208e-324",
         "2.47032822920623272088e-324", "2.47032822920623272089e-324", "2.2250738585072011e-308",
         "2.2250738585072012e-308", "1.7976931348623157e308", "1.7976931348623158e308",
         "1.797693134862315807e308", "1.797693134862315808e308", "1e309", "-1e309", "1e99999999999999999999",
         "1e-99999999999999999999", "9" * 800 + ".0", "0." + "9" * 800, "9007199254740993", "9007199254740995",
         "18446744073709551615", "18446744073709551616", "18446744073709551617.0", "99999999999999999999"]
    )  # fmt: skip
