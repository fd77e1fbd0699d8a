//! What happens inside the kernel under test.
