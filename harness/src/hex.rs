//! Bytes as text, for `#[serde(with = "crate::hex")]`: JSON has no better form for many.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Two digits a byte.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 0xf].map(|it| DIGITS[usize::from(it)]);
    let text: String = bytes.iter().flat_map(digits).map(char::from).collect();
    serializer.serialize_str(&text)
}

/// The bytes again.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let byte = |pair: &[u8]| {
        let digits = str::from_utf8(pair).ok().filter(|it| it.len() == 2);
        digits.and_then(|it| u8::from_str_radix(it, 16).ok())
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| D::Error::custom("not two digits a byte"))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Bytes(#[serde(with = "crate::hex")] Vec<u8>);

    #[test]
    fn bytes_survive_as_text() {
        let all = Bytes((0..=255).collect());
        let text = serde_json::to_string(&all).unwrap();
        assert!(
            text.starts_with("\"000102") && text.ends_with("feff\""),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Bytes>(&text).unwrap(), all);
        for text in ["\"0\"", "\"0g\"", "\"é\"", "7"] {
            assert!(serde_json::from_str::<Bytes>(text).is_err(), "{text}");
        }
    }
}
