"""Noise hypernetworks: a learned proposal that keeps much of the gain of a search for one more network pass."""
