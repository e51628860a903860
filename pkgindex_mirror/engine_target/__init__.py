"""An index of the engine as the target of a sync: pages, rows and files in the stores that a server has too."""
