"""The tests; ``tests.support`` holds the fixtures of real things."""
