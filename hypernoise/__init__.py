"""Noise hypernetworks: learn a proposal that keeps most of a search's gain at almost none of its cost."""
