"""Tiny models for LiteRT, written by hand: softmax(x W + b), in float32 or quantized to int8."""

from __future__ import annotations

from typing import Any

import numpy as np


def dense_softmax(
    weights: Any, bias: Any, batch: int, *, scale: float = 0.0, zero_point: int = 0
) -> bytes:
    """A model of one signature, "serve": input "x" (batch, k), output "shares" (batch, m).

    weights (k, m), bias (m,).  scale: of the int8 input, with its zero point; the output then is int8 of 1/256 from
    -128. 0: float32.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    fb: Any = schema
    inputs, classes = weights.shape
    kind = fb.TensorType.INT8 if scale else fb.TensorType.FLOAT32
    weight_scale = float(np.abs(weights).max() / 127) if scale else 0.0
    if scale:
        stored = np.round(weights.T / weight_scale).astype(np.int8)
        offset = np.round(bias / (scale * weight_scale)).astype(np.int32)
    else:
        stored, offset = weights.T.astype(np.float32), bias.astype(np.float32)

    def tensor(name: str, shape: list[int], kind: int, buffer: int, scale: float, zero: int) -> Any:
        made = fb.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), shape, kind, buffer
        if scale:
            made.quantization = fb.QuantizationParametersT()
            made.quantization.scale = np.array([scale], np.float32)
            made.quantization.zeroPoint = np.array([zero], np.int64)
        return made

    def buffer(data: bytes) -> Any:
        made = fb.BufferT()
        made.data = np.frombuffer(data, np.uint8) if data else None
        return made

    def code(builtin: int) -> Any:
        made = fb.OperatorCodeT()
        made.deprecatedBuiltinCode = made.builtinCode = builtin
        made.version = 4 if scale and builtin == fb.BuiltinOperator.FULLY_CONNECTED else 1 + bool(scale)  # fmt: skip
        return made

    def operator(index: int, inputs: list[int], outputs: list[int], kind: int, options: Any) -> Any:
        made = fb.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = index, inputs, outputs
        made.builtinOptionsType, made.builtinOptions = kind, options
        return made

    def mapped(name: str, index: int) -> Any:
        made = fb.TensorMapT()
        made.name, made.tensorIndex = name.encode(), index
        return made

    softmax = fb.SoftmaxOptionsT()
    softmax.beta = 1.0
    graph = fb.SubGraphT()
    graph.name = b"main"
    graph.tensors = [
        tensor("serve_x", [batch, inputs], kind, 0, scale, zero_point),
        tensor("w", [classes, inputs], kind, 1, weight_scale, 0),
        tensor("b", [classes], fb.TensorType.INT32 if scale else kind, 2, scale * weight_scale, 0),
        tensor("logits", [batch, classes], kind, 0, 0.1 if scale else 0.0, 0),
        tensor("serve_shares", [batch, classes], kind, 0, 1 / 256 if scale else 0.0, -128),
    ]
    graph.inputs, graph.outputs = [0], [4]
    graph.operators = [
        operator(0, [0, 1, 2], [3], fb.BuiltinOptions.FullyConnectedOptions, fb.FullyConnectedOptionsT()),
        operator(1, [3], [4], fb.BuiltinOptions.SoftmaxOptions, softmax),
    ]  # fmt: skip
    signature = fb.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serve", 0
    signature.inputs, signature.outputs = [mapped("x", 0)], [mapped("shares", 4)]
    model = fb.ModelT()
    model.version, model.description = 3, b"softmax(x W + b)"
    model.operatorCodes = [
        code(fb.BuiltinOperator.FULLY_CONNECTED), code(fb.BuiltinOperator.SOFTMAX),
    ]  # fmt: skip
    model.subgraphs, model.signatureDefs = [graph], [signature]
    model.buffers = [buffer(b""), buffer(stored.tobytes()), buffer(offset.tobytes())]
    builder: Any = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
