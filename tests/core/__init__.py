"""The C core against slow obvious oracles."""
