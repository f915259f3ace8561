"""Tracked runs in; a page out, as Markdown, HTML and LaTeX, with its tables and pictures."""
