"""What is not TOML is said in plain words, with its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemon.config import default_text, parse
from edgemon.errors import ConfigError


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "e.toml")
    (fault,) = caught.value.faults
    return str(fault)


NO_VALUE = 'a value is missing, or is not TOML; text stands in quotes, as in "60s"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[batch]\nmax_age = 60s", "2: column 13: something follows the value; text stands in "
         "quotes, each setting on a line of its own"),
        ("[log]\nlevel = debug", f"2: column 9: {NO_VALUE}"),
        ("[log]\nlevel =\n", f"2: column 8: {NO_VALUE}"),
        ("[log]\nlevel", '2: at the end of the file: expected "=" after the key'),
        ("[log]\nlevel info\n", '2: column 7: expected "=" after the key'),
        ("[log]\nlevel: 'info'", '2: column 6: expected "=" after the key'),
        ("[log\nlevel = 1", '1: column 5: expected "]" after the name of the section'),
        ("[[log]\n", '1: column 6: expected "]]" after the name of the section'),
        ("!", "1: column 1: expected a section such as [agent], or a setting such as key = value"),
        ("[]", "1: column 2: a key is missing, or is not one; odd keys need quotes"),
        ("a = [1, 2\nb = 3\n", '2: column 1: a list is not closed with "]"'),
        ("a = {b = 1", '1: at the end of the file: an inline table is not closed with "}"'),
        ("a = {b = 1, b = 2}", "1: column 18: a key stands twice in one inline table"),
        ("[log]\nlevel = 'info'\n\nlevel = 'info'\n", "4: column 15: the key level is set twice"),
        ("[log]\n[agent]\n[log]\n", "3: column 5: the section [log] stands twice, or lies in a value"),
        ("[a.b]\n[a.b]\n", "2: column 5: the section [a.b] stands twice, or lies in a value"),
        ("a = 1\n[a.b]\n", "2: column 5: the section [a.b] stands twice, or lies in a value"),
        ("a = [1]\n[[a]]\n", "2: column 4: a table that was complete already gets another key"),
        ("a = {}\n[a.b]\n", "2: column 5: the section [a.b] stands twice, or lies in a value"),
        ('a = "C:\\dir"', '1: column 10: a lone backslash in double quotes; write "\\\\", or use '
         "single quotes"),
        ('a = "\\u00zz"', "1: column 8: an escape that begins with \\u or \\U needs 4 or 8 hex digits"),
        ('a = "\\ud800"', "1: column 12: an escape names a character that does not exist"),
        ('a = "x', "1: at the end of the file: a text is not closed with its quote"),
        ("a = 'x", "1: at the end of the file: a text is not closed with its quote"),
        ('a = """x\n\n', "2: at the end of the file: a text is not closed with its quote"),
        ("a = '''x\n", "1: at the end of the file: a text is not closed with its quote"),
        ('a = "x\nb = 1', "1: column 7: a text is not closed with its quote before the line ends"),
        ("a = 'x\nb = 'y'", "1: column 7: a text is not closed with its quote before the line ends"),
        ('a = "x\x00"', "1: column 7: a control character stands in a text"),
        ("a = 1 # \x07", "1: column 9: a control character stands here"),
        ("a = 2024-02-31", "1: column 5: not a date"),
        ("[" * 5000, None),
        ("a = " + "[" * 50_000, "lists or tables are nested too deep"),
        ("a = " + "9" * 5000, None),
    ],
)  # fmt: skip
def test_a_text_that_is_not_toml_is_one_fault_with_its_place(text: str, said: str | None) -> None:
    line = problem(text)
    if said is None:
        assert line.startswith("e.toml:")
    elif said.startswith("lists"):
        assert line == f"e.toml: {said}"
    else:
        assert line == f"e.toml:{said}"


TEMPLATE = default_text(root=True)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(TEMPLATE)),
    st.integers(0, 30),
    st.text("[]{}=\"'\\#.,\n a1\x00é", max_size=4),
)
def test_a_torn_file_is_a_configuration_or_faults_and_never_a_crash(
    at: int, cut: int, put: str
) -> None:
    try:
        parse(TEMPLATE[:at] + put + TEMPLATE[at + cut :], "e.toml")
    except ConfigError as error:
        for fault in error.faults:
            assert fault.file == "e.toml"
            assert 0 <= fault.line <= TEMPLATE.count("\n") + 5
            assert "\n" not in fault.problem
            assert "not TOML: " not in fault.problem, "tomllib's own words got through"
