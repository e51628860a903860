"""What devpi writes: its dumps, read and translated."""
