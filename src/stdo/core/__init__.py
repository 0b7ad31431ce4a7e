"""What knows neither video nor networks: values, files, locks, signals, provenance."""
