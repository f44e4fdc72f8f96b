"""How every network runs: ONNX Runtime on the CPU, beside a decoder that needs the processor too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moodreel.errors import BundleError
from moodreel.text import first_line

if TYPE_CHECKING:
    import onnxruntime


def start_session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    """Open an ONNX graph held in memory.

    Args:
        graph: the serialised graph; it cannot pull in other files.
        threads: threads that one run may use.

    Raises:
        Exception: of ONNX Runtime's own kinds, which have no common base: the bytes are no graph that it can run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Threads that spin while they wait take the processor from the decoder: a tenth of all time on two cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena keeps the most memory that any length of sound and number of faces ever took; it gains no time.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def open_session(graph: bytes, where: str, threads: int) -> onnxruntime.InferenceSession:
    """Open an ONNX graph held in memory.

    Args:
        graph: the serialised graph; it cannot pull in other files.
        where: what to name in an error.
        threads: threads that one run may use.

    Raises:
        BundleError: the bytes are no graph that ONNX Runtime can run.
    """
    try:
        return start_session(graph, threads)
    except Exception as error:  # ONNX Runtime raises a family of its own without a common base
        raise BundleError(f"{where}: not a network that ONNX Runtime can run ({first_line(error)})") from None


def output_width(session: onnxruntime.InferenceSession, name: str) -> int:
    """Return the size of the last dimension of a network's output.

    Raises:
        BundleError: the network has no such output, or one of any size.
    """
    shapes: dict[str, list[Any]] = {given.name: given.shape for given in session.get_outputs()}
    width = shapes.get(name, [None])[-1]
    if not isinstance(width, int):
        raise BundleError(f"a network gives no {name!r} to build on; take the bundle of this version")
    return width


def run_network(
    session: onnxruntime.InferenceSession,
    inputs: Mapping[str, npt.NDArray[np.float32]],
    shapes: Mapping[str, tuple[int, ...]],
) -> list[npt.NDArray[np.float32]]:
    """Run a network and check what comes out of it.

    Args:
        session: the opened network.
        inputs: its inputs by name.
        shapes: the shape expected of each of its outputs, by name.

    Returns:
        The outputs in the order of `shapes`, finite.

    Raises:
        BundleError: the network takes other inputs, fails, or gives other or not finite outputs.
    """
    try:
        outputs: list[npt.NDArray[np.float32]] = session.run(list(shapes), dict(inputs))
    except Exception as error:  # ONNX Runtime raises a family of its own without a common base
        raise BundleError(f"a network of the bundle cannot be run ({first_line(error)})") from None
    for (name, shape), output in zip(shapes.items(), outputs, strict=True):
        if getattr(output, "shape", None) != shape or not np.isfinite(output).all():
            raise BundleError(f"a network of the bundle gives no finite {name!r} of shape {shape}; export it anew")
    return outputs
