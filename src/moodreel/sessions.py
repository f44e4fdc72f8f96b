"""How every network runs: ONNX Runtime on the CPU, beside a decoder that needs the processor too."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
