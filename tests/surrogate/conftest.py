from surrogate.samples import write_csv  # noqa: F401 - a fixture
