"""From a finished run to a package, or to exported networks."""

import os

# Importing ONNX Runtime, which checks exported networks, would report it to its makers' statistics
# and leave an identifier in the home folder. Whoever has set this has decided.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
