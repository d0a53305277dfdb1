"""The site of the documentation: `make docs`."""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

import generate

from sparseloom import __version__

project = "Sparseloom"
author = "the Sparseloom authors"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["generated/api.md", "generated/designs.md"]  # parts of pages
myst_heading_anchors = 3
default_role = "code"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: name for name in ("ArrayLike", "BoolArray", "Corner", "FloatArray", "IntArray", "Levels")}
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"Sparseloom {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    generate.write(Path(app.srcdir))
    app.connect("autodoc-process-signature", _plain_aliases)


def _plain_aliases(
    app: Sphinx, what: str, name: str, value: object, options: object, arguments: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Sphinx writes ``TypeAliasForwardRef('IntArray')`` where an alias stands within another type."""
    alias = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
    return arguments and alias.sub(r"\1", arguments), returned and alias.sub(r"\1", returned)
