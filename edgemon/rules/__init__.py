"""Rules over figures: a small language, its table of figures, and who holds now. Pure; see docs/rules.md."""
