"""A benchmark suite for small image generators: studies of VAEs, GANs and what lies between, tracked and compared."""

__version__ = "0.1.0"
