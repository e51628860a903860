"""Filters choose which projects, releases and files a mirror has."""
