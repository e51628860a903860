"""The parts of `Engine`: the stores, the objects of plugins, and the services by purpose.

Each part has one factory, which takes its arguments and keeps no state. Services are constructed only here.
"""
