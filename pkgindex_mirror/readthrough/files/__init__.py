"""Files of a read-through index: fetched once for all who wait, checked, kept, and their metadata and sizes."""
