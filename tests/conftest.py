"""What all tests share: the fixtures in tests/support."""

pytest_plugins = ["tests.support.labs"]
