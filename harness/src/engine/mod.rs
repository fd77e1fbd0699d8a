//! Runs a program inside a kernel.
