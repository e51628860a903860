"""The protocol of devpi's client: a module for each subject, and `envelope` for the form of all answers."""
