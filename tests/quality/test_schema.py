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
    assert schema.kind("f:a") == "numeric"


def test_a_feature_that_appears_later_is_told() -> None:
    schema = settled(Schema())
    change = schema.learn("f:b", "text")
    assert change is not None
    assert (change.what, change.stream) == ("features_changed", "f:b")


def test_a_profile_makes_the_schema_known_from_the_start() -> None:
    schema = Schema({"output": "numeric", "f:a": "numeric"})
    assert schema.features == {"f:a"}
    assert schema.learn("f:b", "numeric") is not None


def test_a_latency_or_an_output_that_the_profile_does_not_have_is_no_feature() -> None:
    schema = settled(Schema({"f:a": "numeric"}))
    assert schema.learn("latency", "numeric") is None
    assert schema.learn("output", "text") is None
