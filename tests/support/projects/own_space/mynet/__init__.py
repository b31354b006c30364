"""Networks of a project of its own."""
