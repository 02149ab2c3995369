"""How well a model does: truths joined to predictions, accuracy measured and estimated, and who watches both. Pure."""
