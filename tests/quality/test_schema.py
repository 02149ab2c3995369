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
    change = schema.learn("f:b", "numeric")
    assert change is not None and change.message == "f:b (numeric) is not in the profile"


def test_a_list_of_another_length_than_the_profile_is_explained() -> None:
    schema = Schema({"output": "numeric", "f:a": "numeric", "f:b": "text"})
    change = schema.learn("f:f0", "numeric")
    assert (
        change is not None
        and "a list without names gets its names if it has 2 values" in change.message
    )


def test_a_latency_or_an_output_that_the_profile_does_not_have_is_no_feature() -> None:
    schema = settled(Schema({"f:a": "numeric"}))
    assert schema.learn("latency", "numeric") is None
    assert schema.learn("output", "text") is None
