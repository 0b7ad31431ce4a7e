"""From a package to frames: decoding, networks on OpenVINO, output files."""

import sys

# Importing OpenVINO would report the viewer to its makers' statistics and leave an identifier in
# the home folder.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
