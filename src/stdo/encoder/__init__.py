"""From a finished run to a package, or to exported networks."""
