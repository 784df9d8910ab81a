"""Measuring methods on benchmarks: plans, the resumable runner, paired intervals and tables."""
