"""How Sphinx makes pages of docs/: `make docs`."""

project = "recsys"
author = "the recsys authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "recsys"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
# Files of the repository that are no pages (examples, scripts) become downloads.
nitpicky = True
