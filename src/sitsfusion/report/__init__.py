"""What people look at: one HTML page per result, readable without a network, a server or this library."""

from sitsfusion.report.page import Layer, write_page

__all__ = ["Layer", "write_page"]
