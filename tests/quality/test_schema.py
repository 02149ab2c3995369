"""What is news about the shape of a model's input, and that it is told once."""

from __future__ import annotations

from edgemon.quality.schema import SETTLED_AFTER, Schema


def settled(schema: Schema) -> Schema:
    for _ in range(SETTLED_AFTER):
        schema.prediction_seen()
    return schema


def test_what_appears_while_learning_is_no_news() -> None:
    schema = Schema()
    assert schema.learn("f:a", "numeric") is None
    assert schema.missing("f:a") is None


def test_a_feature_that_appears_later_is_told() -> None:
    schema = settled(Schema())
    change = schema.learn("f:b", "text")
    assert change is not None
    assert (change.what, change.stream) == ("added", "f:b")


def test_a_profile_makes_the_schema_known_from_the_start() -> None:
    schema = Schema({"output": "numeric", "f:a": "numeric"})
    assert schema.features == {"f:a"}
    assert schema.missing("f:a") is not None
    assert schema.learn("f:b", "numeric") is not None


def test_a_change_is_told_once() -> None:
    schema = settled(Schema({"f:a": "numeric"}))
    assert schema.wrong_type("f:a", "text") is not None
    assert schema.wrong_type("f:a", "text") is None
    assert schema.missing("f:a") is not None
    assert schema.missing("f:a") is None
