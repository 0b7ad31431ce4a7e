"""The package format (.stdo): container, manifest, coded weights and labels. Needs numpy alone."""
