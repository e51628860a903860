"""HTTP as values: paths, bodies, preconditions, ranges, credentials, and the ways in which an answer is sent."""
