"""Data quality, pure: what a stream should look like, and whether it still does."""
