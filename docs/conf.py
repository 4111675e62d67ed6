"""How `make docs` builds the site: Sphinx, which reads the same Markdown that a repository shows.

A page belongs into a group of index.md; one that is in none fails the build, and so does a link to nowhere.
"""

import ast
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
_version = next(
    line
    for line in (REPO / "ex4d/__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)

project = "EX-4D for Blender"
author = "The EX-4D for Blender authors"
copyright = author
release = version = ast.literal_eval(_version.partition("=")[2].strip())

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinxcontrib.mermaid"]
myst_fence_as_directive = ["mermaid"]
nitpicky = False  # types in docstrings are for people

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

default_role = "literal"  # `name` in a docstring is code
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
