"""bandersnatch's filter plugins, by their words and sections."""
