"""The pages that people read: indexes, projects, versions, and why a project is shown as it is."""
