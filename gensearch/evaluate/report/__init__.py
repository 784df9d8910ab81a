"""Reports over one or more evaluations."""
