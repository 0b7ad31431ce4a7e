"""From a package to frames: decoding, networks on OpenVINO, output files."""
