"""Tracked runs in; tables, Markdown, CSV and pictures out."""
