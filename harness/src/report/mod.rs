//! Findings, tables and JSON lines.
