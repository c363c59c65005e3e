"""The version: of this code, not of what some other environment has installed."""

__version__ = "0.1.0"
