"""How sphinx builds the documentation; the pages per plugin and per formula are generated first."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import generate

import saltext_logilab

project = "saltext-logilab"
author = "Logilab"
release = version = saltext_logilab.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"saltext-logilab {release}"
autodoc_member_order = "bysource"
autodoc_typehints = "none"

generate.write_all()


def setup(app):
    """Leave functions that a module borrows from Salt to Salt's own documentation."""

    def skip(_app, _what, _name, found, _skip, _options):
        code = getattr(found, "__code__", None)
        return True if code and not Path(code.co_filename).is_relative_to(generate.PACKAGE) else None

    app.connect("autodoc-skip-member", skip)
