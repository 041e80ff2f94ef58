"""Scripts that measure what the README and the reports print."""
