"""A tiny model for ONNX Runtime: logits = x W + b and shares = softmax(logits), of any batch."""

from __future__ import annotations

from typing import Any

import numpy as np


def dense_softmax(weights: Any, bias: Any) -> bytes:
    """weights (k, m), bias (m,); input "x", outputs "logits" and "shares", all float32."""
    import onnx
    from onnx import helper, numpy_helper

    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["shares"], axis=1),
        ],
        "net",
        [helper.make_tensor_value_info("x", kind, ["n", weights.shape[0]])],
        [
            helper.make_tensor_value_info(name, kind, ["n", weights.shape[1]])
            for name in ("logits", "shares")
        ],
        [
            numpy_helper.from_array(np.asarray(weights, np.float32), "w"),
            numpy_helper.from_array(np.asarray(bias, np.float32), "b"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    made: bytes = helper.make_model(graph, ir_version=8, opset_imports=opset).SerializeToString()
    return made
