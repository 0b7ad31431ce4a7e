"""Values, files, locks, signals, provenance: modules that know neither video nor networks."""
