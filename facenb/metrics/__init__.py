"""Measures of edits (MDC and MDS, preservation), direction labels, path length, statistics; and the
comparison of methods by all of them."""
