//! Whether what arrives is zeros.

/// What has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judge {
    bytes: u64,
}

/// A byte that is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corruption {
    /// The byte.
    pub byte: u8,
    /// So many zeros arrived before it.
    pub at: u64,
}

impl Judge {
    /// Takes the next bytes; `Err` at the first that is not zero.
    ///
    /// # Errors
    /// That byte.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Corruption> {
        let found = first_non_zero(bytes);
        let zeros = found.unwrap_or(bytes.len()) as u64;
        self.bytes += zeros;
        match found {
            None => Ok(()),
            Some(index) => Err(Corruption {
                byte: bytes[index],
                at: self.bytes,
            }),
        }
    }

    /// So many zeros have arrived.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The index of the first byte that is not zero.
#[must_use]
pub fn first_non_zero(bytes: &[u8]) -> Option<usize> {
    // All are zero if the first is and each equals the next: that comparison is one
    // memcmp(3), several times as fast as a look at every byte.
    let all_zero = match bytes {
        [] | [0] => true,
        [first, rest @ ..] => *first == 0 && bytes[..rest.len()] == *rest,
    };
    match all_zero {
        true => None,
        false => bytes.iter().position(|&byte| byte != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_clean_and_anything_else_is_not() {
        let mut judge = Judge::default();
        judge.take(&[0; 10_000]).unwrap();
        let mut torn = [0; 10_000];
        torn[9_999] = 0xab;
        let corruption = judge.take(&torn).unwrap_err();
        let (byte, at) = (0xab, 19_999);
        assert_eq!(corruption, Corruption { byte, at });
        assert_eq!(judge.bytes(), 19_999);
    }

    #[test]
    fn no_place_is_overlooked() {
        assert_eq!(first_non_zero(&[]), None);
        for len in 1..20 {
            let mut bytes = vec![0; len];
            assert_eq!(first_non_zero(&bytes), None);
            for at in (0..len).rev() {
                bytes[at] = 1;
                assert_eq!(first_non_zero(&bytes), Some(at), "{bytes:?}");
            }
            // All the same, and not zero.
            assert_eq!(first_non_zero(&vec![7; len]), Some(0));
        }
    }
}
