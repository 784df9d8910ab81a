"""Adapters from generators to the Model contract."""
