//! Numbers: kept as written, printed the way Python reads and prints them.

/// A number as it was written. The text is a JSON number, or one of Python's words for non-finite
/// values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    /// The reader has checked the grammar.
    pub(super) fn from_checked(text: &str) -> Self {
        Self(text.into())
    }

    /// An integer.
    pub fn from_int(value: i64) -> Self {
        Self(value.to_string().into())
    }

    /// The text as written.
    pub fn as_written(&self) -> &str {
        &self.0
    }

    /// Appends what Python prints for this number.
    ///
    /// Integers of any size keep their digits. Everything else goes through a double, as in Python.
    pub(super) fn write_python(&self, out: &mut String) {
        let text = &*self.0;
        match text {
            "-0" => out.push('0'),
            "NaN" | "Infinity" | "-Infinity" => out.push_str(text),
            _ if text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) => {
                let value = text
                    .parse()
                    .expect("the JSON grammar is within that of f64");
                write_double(value, out);
            }
            _ => out.push_str(text),
        }
    }
}

/// Appends `repr(value)`: the shortest digits that read back to the same double, always with a
/// point or an exponent.
fn write_double(value: f64, out: &mut String) {
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
        return;
    }
    // `{:e}` gives the shortest digits as `d[.ddd]e[-]x`; only the layout differs from Python's.
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes a decimal exponent");
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    out.push_str(sign);
    if (-4..16).contains(&exponent) {
        write_plain(first, rest, exponent, out);
    } else {
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(&format!("e{sign}{:02}", exponent.abs()));
    }
}

/// Digits `first.rest` times ten to `exponent`, without an exponent.
fn write_plain(first: &str, rest: &str, exponent: i32, out: &mut String) {
    if exponent < 0 {
        out.push_str("0.");
        out.extend((1..-exponent).map(|_| '0'));
        out.push_str(first);
        out.push_str(rest);
        return;
    }
    let before_point = exponent as usize;
    out.push_str(first);
    if rest.len() > before_point {
        out.push_str(&rest[..before_point]);
        out.push('.');
        out.push_str(&rest[before_point..]);
    } else {
        out.push_str(rest);
        out.extend((rest.len()..before_point).map(|_| '0'));
        out.push_str(".0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_layout_of_every_kind_of_number() {
        // Written by CPython 3.12: `print(repr(json.loads(text)))`.
        let cases = [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("0.0", "0.0"),
            ("1.50", "1.5"),
            ("1e5", "100000.0"),
            ("1E400", "Infinity"),
            ("-1e999", "-Infinity"),
            ("1e-7", "1e-07"),
            ("1e22", "1e+22"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("123456789012345680.0", "1.2345678901234568e+17"),
            ("9007199254740993.0", "9007199254740992.0"),
            ("0.0001", "0.0001"),
            ("0.00012345", "0.00012345"),
            ("0.00001", "1e-05"),
            ("12.34", "12.34"),
            ("1234567.125", "1234567.125"),
            ("5e-324", "5e-324"),
            ("1e-400", "0.0"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("NaN", "NaN"),
        ];
        for (written, printed) in cases {
            let mut out = String::new();
            Number::from_checked(written).write_python(&mut out);
            assert_eq!(out, printed, "{written}");
        }
    }
}
