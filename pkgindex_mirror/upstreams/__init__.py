"""The client of upstreams: which addresses it may reach, how often it asks, when it stops asking, and what an answer means."""
