"""How Sphinx builds these pages; `sphinx-build -W docs docs/_build` fails on any warning."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from generated_pages import write_pages  # noqa: E402

from fmnist_bench import __version__  # noqa: E402

project, author, release = "fmnist_bench", "the authors of fmnist_bench", __version__
copyright = f"{author}, MIT licence"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "_generated"]  # the pages include what is generated
html_theme, html_title = "furo", "fmnist_bench"
html_static_path, html_css_files = ["_static"], ["wrap.css"]
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_attr_annotations = False
autodoc_typehints = "none"  # numpydoc says the types in words
autodoc_inherit_docstrings = False

write_pages(HERE / "_generated")
