//! Enumerations as the service speaks them: a name in any letter case, or a number.

/// Declares an enumeration with its wire names and numbers.
///
/// Official clients send names (Python), numbers (Node) or numeric text (queries); all are read,
/// and the name is written (clients.md, section 2).
macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $number:literal $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $(#[doc = concat!("`", $text, "`")] $variant),+ }

        impl $name {
            /// The name that is written to the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads a name in any letter case, or a number as text.
            pub fn from_text(text: &str) -> Option<Self> {
                $(if text.eq_ignore_ascii_case($text) || text == stringify!($number) {
                    return Some(Self::$variant);
                })+
                None
            }

            /// Reads a JSON string or number.
            #[allow(dead_code, reason = "some enumerations only arrive in query strings")]
            pub fn from_json(value: &serde_json::Value) -> Option<Self> {
                match value {
                    serde_json::Value::String(text) => Self::from_text(text),
                    serde_json::Value::Number(number) => Self::from_text(&number.to_string()),
                    _ => None,
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(from)?;
                Self::from_json(&value).ok_or_else(|| {
                    serde::de::Error::custom(format!("{value} is not one of: {}", [$($text),+].join(", ")))
                })
            }
        }
    };
}

pub(crate) use wire_enum;

#[cfg(test)]
mod tests {
    wire_enum! { #[doc = "For the test."] Colour { Red = 1 "red", DarkBlue = 20 "darkBlue" } }

    #[test]
    fn names_in_any_case_numbers_and_numeric_text_are_read() {
        assert_eq!(Colour::from_text("DARKBLUE"), Some(Colour::DarkBlue));
        assert_eq!(Colour::from_text("20"), Some(Colour::DarkBlue));
        assert_eq!(Colour::from_json(&serde_json::json!(1)), Some(Colour::Red));
        assert_eq!(Colour::from_text("2"), None);
        assert_eq!(serde_json::to_string(&Colour::DarkBlue).unwrap(), "\"darkBlue\"");
    }
}
