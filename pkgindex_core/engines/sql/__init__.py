"""The schemas of the SQL engines, as numbered migrations (`migrations`)."""
