"""The pages on which people work: they log in, publish, manage indexes, releases, tokens and users."""
