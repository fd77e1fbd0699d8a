//! What makes one kernel differ from another.

use super::series::Series;

/// To be raised when this module's way of building changes the image.
const NUMBER: u32 = 1;

/// The ingredients that we bring along. Source and compiler come on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe(String);

impl Recipe {
    pub(super) fn new(series: &Series, fragment: &[u8]) -> Self {
        let config = &blake3::hash(fragment).to_hex()[..16];
        Self(format!(
            "recipe {NUMBER}, patches {}, config {config}",
            series.id()
        ))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the kernel that this recipe makes of `source` with `compiler`:
    /// 16 hexadecimal digits.
    pub(super) fn key(&self, source: &str, compiler: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.0, source, compiler] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::series::Patch;

    #[test]
    fn every_ingredient_changes_the_key() {
        let series = |text: &str| Series {
            patches: vec![Patch {
                name: "a.patch".to_owned(),
                text: text.as_bytes().to_vec(),
                touched: Vec::new(),
            }],
        };
        let key = |series: &Series, config: &str, source: &str, compiler: &str| {
            Recipe::new(series, config.as_bytes()).key(source, compiler)
        };
        let stock = Series::default();
        let keys = [
            key(&stock, "A=y", "1", "gcc 12"),
            key(&series("x"), "A=y", "1", "gcc 12"),
            key(&series("y"), "A=y", "1", "gcc 12"),
            key(&stock, "A=n", "1", "gcc 12"),
            key(&stock, "A=y", "2", "gcc 12"),
            key(&stock, "A=y", "1", "gcc 14"),
            // No boundary between ingredients moves unnoticed.
            key(&stock, "A=y", "1g", "cc 12"),
        ];
        for (i, one) in keys.iter().enumerate() {
            assert_eq!(one.len(), 16);
            assert!(!keys[..i].contains(one), "{i} repeats an earlier key");
        }
        assert_eq!(keys[0], key(&stock, "A=y", "1", "gcc 12"));
    }
}
