//! The types that a key may have, between TOML and Rust.

use toml::Value;

/// A type of the table of settings.
pub(super) trait Setting: Sized {
    /// From TOML; else what is wrong with the value, as what follows "is". `key` is the key's name.
    fn read(key: &str, value: &Value) -> Result<Self, String>;

    /// To TOML.
    fn write(&self) -> Value;
}

/// The error of a value of another type.
fn other_type(value: &Value, expected: &str) -> String {
    format!("of type {}, expected {expected}", value.type_str())
}

/// A value by its name, of those that there are.
pub(super) fn named<T>(
    value: &Value,
    all: impl Iterator<Item = (&'static str, T)> + Clone,
) -> Result<T, String> {
    let Value::String(text) = value else { return Err(other_type(value, "string")) };
    all.clone().find(|(name, _)| name == text).map(|(_, value)| value).ok_or_else(|| {
        let names: Vec<String> = all.map(|(name, _)| format!("`{name}`")).collect();
        format!("unknown, expected one of {}", names.join(", "))
    })
}

impl Setting for bool {
    fn read(_: &str, value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| other_type(value, "boolean"))
    }

    fn write(&self) -> Value {
        (*self).into()
    }
}

impl Setting for f64 {
    fn read(_: &str, value: &Value) -> Result<Self, String> {
        match value {
            Value::Float(number) => Ok(*number),
            // `lr = 1` is a fine float: TOML tells integers from floats, users do not.
            Value::Integer(number) => Ok(*number as f64),
            _ => Err(other_type(value, "float")),
        }
    }

    fn write(&self) -> Value {
        (*self).into()
    }
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn read(_: &str, value: &Value) -> Result<Self, String> {
                let number = value.as_integer().ok_or_else(|| other_type(value, "integer"))?;
                let range = || format!("out of range, expected 0 to {}", <$type>::MAX);
                Self::try_from(number).map_err(|_| range())
            }

            /// TOML's integers end at 2⁶³ − 1.
            fn write(&self) -> Value {
                i64::try_from(*self).unwrap_or(i64::MAX).into()
            }
        }
    )+};
}
integers!(u32, u64, usize);

impl Setting for String {
    fn read(_: &str, value: &Value) -> Result<Self, String> {
        value.as_str().map(String::from).ok_or_else(|| other_type(value, "string"))
    }

    fn write(&self) -> Value {
        self.as_str().into()
    }
}

impl Setting for Vec<String> {
    /// One text is a list of that text alone. The names of matrices, which have no white space in them,
    /// may be separated by it.
    fn read(key: &str, value: &Value) -> Result<Self, String> {
        let list = "a list of texts, like [\"one\", \"another\"]";
        match value {
            Value::Array(items) => {
                let texts = items.iter().map(|item| item.as_str().map(String::from));
                texts.collect::<Option<_>>().ok_or_else(|| format!("not {list}"))
            }
            Value::String(text) if key == "targets" => {
                Ok(text.split_whitespace().map(String::from).collect())
            }
            Value::String(text) if text.is_empty() => Ok(Vec::new()),
            Value::String(text) => Ok(vec![text.clone()]),
            _ => Err(other_type(value, list)),
        }
    }

    fn write(&self) -> Value {
        Value::Array(self.iter().map(|text| text.as_str().into()).collect())
    }
}
