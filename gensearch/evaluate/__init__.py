"""Evaluation of methods on benchmarks: plans, a resumable runner, paired confidence intervals and tables."""
