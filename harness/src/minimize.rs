//! Makes a failing scenario smaller.
