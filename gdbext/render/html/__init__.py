"""Reports and comparisons as one HTML file that needs no network: documents in, text out."""

from gdbext.render.html.difference import diff_html
from gdbext.render.html.page import page
from gdbext.render.html.report import report_html

__all__ = ["diff_html", "page", "report_html"]
