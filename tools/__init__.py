"""What writes parts of the source; no part of the package."""
