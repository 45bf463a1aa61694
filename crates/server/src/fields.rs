//! Reading a request body field by field: what is absent, what is `null`, what has the wrong type,
//! and how the field is called in the message that says so.

use ds4_prompt::json::Value;

use crate::error::ApiError;

/// An object of a request, and the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Fields<'a> {
    /// The body itself.
    pub(crate) fn root(value: &'a Value) -> Result<Self, ApiError> {
        Self::at(value, String::new())
    }

    /// The object at `path`.
    pub(crate) fn at(value: &'a Value, path: String) -> Result<Self, ApiError> {
        match value {
            Value::Object(_) => Ok(Self { value, path }),
            other if path.is_empty() => {
                let found = other.type_name();
                let problem = format!("the body is of type {found}; it must be an object");
                Err(ApiError::new(crate::error::Kind::Invalid, problem))
            }
            other => Err(wrong(&path, "an object", other)),
        }
    }

    /// The way to a field of this object.
    pub(crate) fn path(&self, field: &str) -> String {
        match self.path.as_str() {
            "" => field.to_owned(),
            path => format!("{path}.{field}"),
        }
    }

    /// The way to this object.
    pub(crate) fn here(&self) -> &str {
        &self.path
    }

    /// A field's value; `null` is absence.
    pub(crate) fn get(&self, field: &str) -> Option<&'a Value> {
        self.value.get(field).filter(|value| **value != Value::Null)
    }

    /// The object as it is.
    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// Names of all its fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        let members = match self.value {
            Value::Object(members) => members.as_slice(),
            _ => &[],
        };
        members.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn text(&self, field: &str) -> Result<Option<&'a str>, ApiError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.path(field), "a string", other)),
        }
    }

    pub(crate) fn required_text(&self, field: &str) -> Result<&'a str, ApiError> {
        let text = self.text(field)?;
        text.ok_or_else(|| ApiError::field(&self.path(field), "is required, a string"))
    }

    pub(crate) fn flag(&self, field: &str) -> Result<Option<bool>, ApiError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong(&self.path(field), "true or false", other)),
        }
    }

    pub(crate) fn number(&self, field: &str) -> Result<Option<f32>, ApiError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => number(value, &self.path(field)).map(Some),
        }
    }

    /// A whole number from `low` to `high`.
    pub(crate) fn count(&self, field: &str, low: u32, high: u32) -> Result<Option<u32>, ApiError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let count = match value {
            Value::Number(number) => whole(number.as_written()),
            _ => None,
        };
        match count {
            Some(count) if count >= i128::from(low) && count <= i128::from(high) => {
                Ok(Some(count as u32))
            }
            // More than there can be is as much as there can be: budgets are often huge.
            Some(count) if count > i128::from(high) && high == u32::MAX => Ok(Some(high)),
            _ => {
                let shown: String = value.to_compact().chars().take(40).collect();
                let most = match high {
                    u32::MAX => "up".to_owned(),
                    high => high.to_string(),
                };
                let problem = format!("is {shown}; it must be a whole number from {low} to {most}");
                Err(ApiError::field(&self.path(field), problem))
            }
        }
    }

    /// A seed: any whole number, of which 64 bits count.
    pub(crate) fn seed(&self, field: &str) -> Result<Option<u64>, ApiError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Number(number)) if whole(number.as_written()).is_some() => {
                Ok(whole(number.as_written()).map(|seed| seed as u64))
            }
            Some(other) => Err(wrong(&self.path(field), "a whole number", other)),
        }
    }

    pub(crate) fn list(&self, field: &str) -> Result<&'a [Value], ApiError> {
        match self.get(field) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(wrong(&self.path(field), "an array", other)),
        }
    }

    pub(crate) fn object(&self, field: &str) -> Result<Option<Fields<'a>>, ApiError> {
        let path = self.path(field);
        self.get(field)
            .map(|value| Self::at(value, path))
            .transpose()
    }

    /// The objects in a list.
    pub(crate) fn objects(&self, field: &str) -> Result<Vec<Fields<'a>>, ApiError> {
        let items = self.list(field)?.iter().enumerate();
        let path = self.path(field);
        items
            .map(|(at, item)| Self::at(item, format!("{path}[{at}]")))
            .collect()
    }

    /// The field's value of the wrong type.
    pub(crate) fn wrong(&self, field: &str, wanted: &str, found: &Value) -> ApiError {
        wrong(&self.path(field), wanted, found)
    }
}

/// A number that is one.
pub(crate) fn number(value: &Value, path: &str) -> Result<f32, ApiError> {
    let number = match value {
        Value::Number(number) => number.as_written().parse::<f64>().ok(),
        _ => None,
    };
    match number {
        Some(number) if number.is_finite() => Ok(number as f32),
        _ => Err(wrong(path, "a number", value)),
    }
}

/// The value of a whole number, written in whatever way.
fn whole(written: &str) -> Option<i128> {
    if let Ok(number) = written.parse() {
        return Some(number);
    }
    let number: f64 = written.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < 1e30).then_some(number as i128)
}

fn wrong(path: &str, wanted: &str, found: &Value) -> ApiError {
    let found = found.type_name();
    ApiError::field(path, format!("is of type {found}; it must be {wanted}"))
}
