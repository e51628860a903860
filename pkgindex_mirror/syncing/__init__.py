"""A mirror that is brought up to date as a whole: the syncer, and the places into which it brings projects."""
