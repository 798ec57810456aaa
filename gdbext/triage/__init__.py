"""Many cores: one report each, grouped by the signatures of their crashes."""
