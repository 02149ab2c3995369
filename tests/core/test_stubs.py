"""The examples in the stubs are true, and the stubs name what is there, no more and no less."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import edgemon._core

STUBS = sorted(Path(edgemon._core.__file__).parent.glob("*.pyi"))
names = pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.stem)


@names
def test_examples_in_the_stub_are_true(stub: Path) -> None:
    module = importlib.import_module(f"edgemon._core.{stub.stem}")
    for node in ast.walk(ast.parse(stub.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            example = doctest.DocTestParser().get_doctest(
                ast.get_docstring(node) or "", dict(vars(module)), node.name, str(stub), node.lineno
            )
            assert doctest.DocTestRunner().run(example).failed == 0


@names
def test_the_stub_names_what_is_there(stub: Path) -> None:
    module = importlib.import_module(f"edgemon._core.{stub.stem}")
    promised: set[str] = set()
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            promised.add(node.name)
        elif isinstance(node, ast.ClassDef):
            promised |= {
                f"{node.name}.{method.name}"
                for method in node.body
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("__")
            }
            promised |= {
                f"{node.name}.{attribute.target.id}"
                for attribute in node.body
                if isinstance(attribute, ast.AnnAssign) and isinstance(attribute.target, ast.Name)
            }
    there: set[str] = set()
    for name, thing in vars(module).items():
        if isinstance(thing, type) and thing.__module__ == module.__name__:
            there |= {f"{name}.{member}" for member in vars(thing) if not member.startswith("__")}
        elif callable(thing) and not name.startswith("_"):
            there.add(name)
    assert promised == there
