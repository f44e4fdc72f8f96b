"""A library of media indexed by emotion: Parquet files that hold what was seen and heard, read by DuckDB."""
