"""The command line: parses, calls one flow, prints. The only importer of cyclopts and rich."""
