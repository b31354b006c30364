from report.samples import run_directory  # noqa: F401 - a fixture
