"""A mirror as a tree of files for a web server, in bandersnatch's layout."""
