"""Test-time scaling for image and video generators: spend more compute at inference, get a better picture."""

from gensearch.packages import require_own_verifiers

__version__ = "0.1.0"

require_own_verifiers()
