"""What the viewer receives and plays: the package format, its coding, and the client."""

import os
import sys

# Importing OpenVINO would report the viewer to its makers' statistics and leave an identifier in the home folder.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
# Importing ONNX Runtime, which checks exported networks, would do the same. Whoever has set this has decided.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
