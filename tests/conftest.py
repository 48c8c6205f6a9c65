"""What every test may ask for: one plugin per subject, nothing starts unless a test asks."""

pytest_plugins = [
    "pytester",
    "tests.support.distribution",
    "tests.support.no_skips",
]
