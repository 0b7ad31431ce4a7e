"""Metrics: figures of quality of whole frames. Each file here but base and registry is one."""
