"""Measures of edits: MDC and MDS, preservation, direction labels, path length, statistics."""
