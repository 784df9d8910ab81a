"""The one thing that pyproject.toml cannot say: every package found in the tree, and configs/ inside gensearch."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["app*", "gensearch*", "hypernoise*", "verifiers*"]),
        "gensearch.configs",
    ],
    package_dir={"gensearch.configs": "configs"},
)
