"""ONNX Runtime sessions, set up alike for every network of the device."""

import onnxruntime as ort

from dashgaze.bundle import Bundle


def start_session(bundle: Bundle, part: str) -> ort.InferenceSession:
    """Session of a bundle's part on one CPU thread.

    One thread, because two that spin on shared cores vary wildly in latency; the loop's other core belongs to the car.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(bundle.read(part), options, providers=["CPUExecutionProvider"])
