"""The parts of which `Engine` is put together: what is opened, what plugins offer, and the services by what they are for.

One factory each, which takes what its part needs and keeps nothing. Only here are services constructed.
"""
