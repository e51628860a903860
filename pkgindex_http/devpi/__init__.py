"""devpi's protocol, as its client speaks it: one module a subject, all in one envelope (`envelope`)."""
