"""
What a formula's schema makes of a pillar: its check, and the data with defaults.

This package travels: minions that do not have the extension get it by ``saltutil.sync_all`` under the name
``logilab_schemas``. So its modules import each other relatively, and else nothing but the standard library and PyYAML,
which Salt brings.
"""
